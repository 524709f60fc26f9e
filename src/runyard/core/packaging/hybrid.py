"""Several packagers in one tree."""

from runyard.packagers.hybrid import HybridPackager

__all__ = ["HybridPackager"]
