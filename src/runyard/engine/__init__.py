"""Plans, submits and reconciles.

*Down* (``launch``): ``plan`` makes jobs and requests, ``record`` stores the intent, and a
``controller`` process drives. *Back* (``driver``, with its ``ledger``): observe, advance, release, submit.
``follow``, ``report`` and ``logs`` show it; ``replay`` reads it back to launch it again.

The modules are loaded when they are first used, so that a program which only describes an
experiment does not pay for running one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.engine import clean as clean
    from runyard.engine import controller as controller
    from runyard.engine import direct as direct
    from runyard.engine import external as external
    from runyard.engine import follow as follow
    from runyard.engine import launch as launch
    from runyard.engine import logs as logs
    from runyard.engine import notebook as notebook
    from runyard.engine import plan as plan
    from runyard.engine import pull as pull
    from runyard.engine import record as record
    from runyard.engine import replay as replay
    from runyard.engine import report as report

_MODULES = (
    "clean",
    "controller",
    "direct",
    "external",
    "follow",
    "launch",
    "logs",
    "notebook",
    "plan",
    "pull",
    "record",
    "replay",
    "report",
)

__getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(_MODULES, ""))
