"""Execution profiles: named executors in ``env.toml``.

:mod:`files` finds and reads the files; :mod:`book` puts profiles and their parents together; :mod:`interpolate` fills
in ``${oc.env:NAME}``; :mod:`translate` turns the words of a profile into fields of its executor; :mod:`build` makes
the executor. :mod:`load` does all of it in turn. Only :mod:`files` and :mod:`load` look at the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.profiles.load import load_profile as load_profile

__all__ = ["load_profile"]

__getattr__, __dir__ = lazy_names(__name__, {"load_profile": "load"})
