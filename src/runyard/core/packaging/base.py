"""The base of all packagers."""

from runyard.packagers.base import Packager

__all__ = ["Packager"]
