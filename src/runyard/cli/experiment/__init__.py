"""``runyard experiment``: look at, follow, cancel, repeat or remove experiments. One file per command."""

from __future__ import annotations

from runyard.cli.lazy import LazyGroup

SUMMARIES = {
    "list": "List recorded experiments, the newest first.",
    "status": "Show where each task of an experiment stands.",
    "logs": "Print or follow the logs of an experiment's tasks.",
    "show": "Show how an experiment was launched, its attempts, history and files.",
    "wait": "Wait until every task has ended.",
    "pull": "Bring files of a task from where it ran.",
    "cancel": "End tasks of an experiment.",
    "rerun": "Launch an experiment again, from its record.",
    "rm": "Remove experiments: their records, logs and outputs.",
}

command = LazyGroup(
    name="experiment",
    package="runyard.cli.experiment",
    summaries=SUMMARIES,
    help="Look at, follow, cancel, repeat or remove experiments.",
)
