"""Code in a git repository."""

from runyard.packagers.git import GitArchivePackager

__all__ = ["GitArchivePackager"]
