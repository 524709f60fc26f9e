"""A mix-in for dataclasses whose instances can become Configs."""

from __future__ import annotations

from typing import Any


class ConfigurableMixin:
    """Adds ``to_config`` and ``diff`` to a dataclass.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass
        ... class Opt(ConfigurableMixin):
        ...     lr: float = 0.1
        >>> print(Opt(lr=0.2).diff(Opt(lr=0.3)))
        - lr = 0.3
        + lr = 0.2
    """

    def to_config(self) -> Any:
        """Return this object as a Config, nested dataclasses too."""
        from runyard.config.convert import to_config

        return to_config(self)

    def diff(self, old: Any) -> str:
        """Return what differs from ``old`` (an object or a Config), one line per field."""
        from runyard.config.convert import to_config
        from runyard.config.show import diff_text

        return diff_text(to_config(old), self.to_config())
