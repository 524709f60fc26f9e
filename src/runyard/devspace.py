"""A place to develop in, on the machine where the jobs run."""

from __future__ import annotations

from dataclasses import dataclass, field

from runyard.engine.report import JobResult
from runyard.executors.base import Executor
from runyard.oneshot import run
from runyard.packagers.base import Packager
from runyard.task import Script

COMMAND = "code tunnel --accept-server-license-terms"
"""Opens the machine for Visual Studio Code, and prints how to connect to it."""


@dataclass
class DevSpace:
    """A job that does nothing but let you work where it runs.

    Args:
        name: Its name in the list of experiments.
        executor: Where, with which resources and in which container.
        cmd: What runs there; default: ``code tunnel``, which must be installed there.
        use_packager: Bring your code as the executor's packager captures it; otherwise the space starts in the folder
            of the launch where the machine sees it, else in the job's own.
        env_vars: Further environment.
        add_workspace_to_pythonpath: Let Python import from the folder the space starts in.

    Example:
        >>> import runyard as run
        >>> space = run.DevSpace("notebook", run.LocalExecutor(), cmd="jupyter lab --no-browser")
        >>> space.launch()  # doctest: +SKIP
    """

    name: str
    executor: Executor
    cmd: str = COMMAND
    use_packager: bool = False
    env_vars: dict[str, str] = field(default_factory=dict)
    add_workspace_to_pythonpath: bool = True

    def launch(self, detach: bool = False) -> JobResult | None:
        """Start it and show what it prints, until it ends; Ctrl-C asks whether it goes on without you.

        Args:
            detach: Return at once. ``runyard experiment logs -f NAME`` shows what it prints,
                ``runyard experiment cancel NAME`` ends it.

        Raises:
            TaskFailed: when the command failed.
        """
        return run(Script(inline=self.cmd), self.prepared(), name=self.name, detach=detach)

    def prepared(self) -> Executor:
        """Return the executor with everything the space adds to it."""
        executor = self.executor.clone()
        executor.env_vars = {**executor.env_vars, **self.env_vars}
        if not self.use_packager:
            executor.packager = Packager()
        if self.add_workspace_to_pythonpath:
            line = 'export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"'
            executor.setup_lines = f"{line}\n{executor.setup_lines}" if executor.setup_lines else line
        return executor
