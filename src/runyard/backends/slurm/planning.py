"""From a job to the request that submits it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from runyard import executors
from runyard.backends.base import Job, Request
from runyard.backends.slurm.script import SCRIPT, Place, native_name, render
from runyard.errors import ConfigError
from runyard.executors.slurm import SINGLETON, SlurmExecutor, native_id


def planned(job: Job, launchers: Collection[str]) -> Request:
    """Return what is submitted for a job.

    Args:
        job: The job.
        launchers: Kinds of launchers that work here.

    Raises:
        ConfigError: for what Slurm cannot run.
    """
    lead = executors.from_dict(job.components[0].executor)
    assert isinstance(lead, SlurmExecutor)
    for component in job.components:
        executor = executors.from_dict(component.executor)
        kind = executor.get_launcher().kind
        if kind not in launchers:
            raise ConfigError(
                f"task {job.id.name!r}: the launcher {kind!r} does not work with {type(executor).__name__}",
                hint=f"use one of {', '.join(sorted(launchers))}",
            )
    place = Place.of(job, lead.reach())
    options: dict[str, Any] = {
        "home": job.home,
        "path": job.folder,
        "root": place.root,
        "remote": place.remote,
        "name": "" if lead.dependency_type == SINGLETON else native_name(job, lead),
        "forecast": lead.poll_estimated_start_time,
        "partition": lead.partition or "",
        "seconds": lead.wall_seconds(),
    }
    if code := [dict(c.code) for c in job.components if c.code]:
        options["code"] = code
    if lead.dependencies:
        kind = lead.dependency_type
        ids = [native_id(d) for d in lead.dependencies]
        options["dependency"] = SINGLETON if kind == SINGLETON else f"{kind}:{':'.join(ids)}"
    elif lead.dependency_type == SINGLETON:
        options["dependency"] = SINGLETON
    if lead.exclude_bad_nodes:
        exclude = lead.exclude or []
        options["exclude"] = exclude.split(",") if isinstance(exclude, str) else list(exclude)
    if needed := _must_exist(job):
        options["present"] = needed
    where = [] if place.root.startswith("~") else [f"--chdir={place.job}"]
    script = SCRIPT if place.root.startswith("~") else f"{place.job}/{SCRIPT}"
    dependency = [f"--dependency={options['dependency']}"] if "dependency" in options else []
    return Request(
        job=job.id,
        command=("sbatch", *where, *dependency, script),
        files=render(job, place),
        folder=place.job,
        options=options,
    )


def _must_exist(job: Job) -> list[str]:
    """Return the paths on the target that a job's containers need."""
    out: list[str] = []
    for component in job.components:
        fields: Mapping[str, Any] = component.executor
        image = str(fields.get("container_image") or "")
        if image.startswith(("/", "~/")):
            out.append(image)
        for mount in fields.get("container_mounts", ()) if image else ():
            source = str(mount).partition(":")[0]
            if source.startswith(("/", "~/")) and "$" not in source:
                out.append(source)
        if component.code and str(component.code.get("link", "")).startswith("/"):
            out.append(str(component.code["link"]))
    return list(dict.fromkeys(out))
