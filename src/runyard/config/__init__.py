"""Configure a task: ``Config``, ``Partial``, ``autoconvert``, serialisers and the call tree.

Names are loaded when they are first used: Fiddle's import costs 200 ms, which a script that only
runs a shell command does not pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.config.calltree import PyCall as PyCall
    from runyard.config.calltree import decode as decode
    from runyard.config.calltree import encode as encode
    from runyard.config.calltree import is_buildable as is_buildable
    from runyard.config.calltree import recorded_secrets as recorded_secrets
    from runyard.config.calltree import summary as summary
    from runyard.config.core import Config as Config
    from runyard.config.core import Partial as Partial
    from runyard.config.lazy import LazyEntrypoint as LazyEntrypoint
    from runyard.config.lazy import lazy_imports as lazy_imports
    from runyard.config.mixin import ConfigurableMixin as ConfigurableMixin
    from runyard.config.rewrite import autoconvert as autoconvert
    from runyard.config.secret_values import revealed as revealed
    from runyard.config.serialize import from_json as from_json
    from runyard.config.serialize import from_toml as from_toml
    from runyard.config.serialize import from_yaml as from_yaml
    from runyard.config.serialize import to_json as to_json
    from runyard.config.serialize import to_toml as to_toml
    from runyard.config.serialize import to_yaml as to_yaml
    from runyard.config.show import dryrun_fn as dryrun_fn
    from runyard.config.show import help as help

_HOME = {
    "rewrite": "autoconvert",
    "secret_values": "revealed",
    "calltree": "PyCall decode encode is_buildable recorded_secrets summary",
    "core": "Config Partial",
    "lazy": "LazyEntrypoint lazy_imports",
    "mixin": "ConfigurableMixin",
    "serialize": "from_json from_toml from_yaml to_json to_toml to_yaml",
    "show": "dryrun_fn help",
}
_NAMES = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
