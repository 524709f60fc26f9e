"""``runyard experiment show``."""

from __future__ import annotations

import click

from runyard.cli.describe import about_experiment, about_task
from runyard.cli.experiment import SUMMARIES
from runyard.cli.output import emit, emit_json
from runyard.cli.refs import complete_task, find, open_store, ref_argument
from runyard.cli.showtext import experiment_text, task_text
from runyard.engine.follow import names_of
from runyard.store import records


@click.command("show", short_help=SUMMARIES["show"])
@ref_argument
@click.argument("tasks", metavar="[TASK]...", nargs=-1, shell_complete=complete_task)
@click.option("--task", "more_tasks", multiple=True, metavar="TASK", shell_complete=complete_task, help="The same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(ref: str, tasks: tuple[str, ...], more_tasks: tuple[str, ...], as_json: bool) -> None:
    """Show how an experiment was launched; for a TASK its command, settings, attempts, history and files.

    An experiment with one task is shown with it. Secret values are never shown: they are not recorded.
    """
    with open_store() as db:
        row = find(db, ref)
        jobs = records.jobs(db, row.id)
        chosen = [*tasks, *more_tasks]
        names = names_of(jobs, chosen)
        attempts, events = records.attempts(db, row.id), records.events(db, row.id)
        about = about_experiment(db, row, jobs)
        wanted = [
            about_task(
                job,
                [a for a in attempts if a.name == job.name],
                [e for e in events if e.name == job.name],
            )
            for job in jobs
            if job.name in set(names)
        ]
    if as_json:
        emit_json({**about, "tasks": wanted})
        return
    parts = [] if chosen else [experiment_text(about, jobs)]
    if chosen or len(jobs) == 1:
        parts += [task_text(task) for task in wanted]
    emit("\n\n".join(parts))
