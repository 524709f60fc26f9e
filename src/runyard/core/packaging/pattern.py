"""Files chosen by patterns."""

from runyard.packagers.pattern import PatternPackager

__all__ = ["PatternPackager"]
