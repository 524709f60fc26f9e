"""Packagers: each turns a folder into a snapshot of the code that ships. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runyard.lazynames import lazy_names

if TYPE_CHECKING:
    from runyard.packagers.base import Packager as Packager
    from runyard.packagers.base import make_packager as make_packager
    from runyard.packagers.base import packager_class as packager_class
    from runyard.packagers.configmap import ConfigMapPackager as ConfigMapPackager
    from runyard.packagers.git import GitArchivePackager as GitArchivePackager
    from runyard.packagers.hybrid import HybridPackager as HybridPackager
    from runyard.packagers.pattern import PatternPackager as PatternPackager
    from runyard.packagers.project import ProjectPackager as ProjectPackager

_WHERE = {
    "Packager": "base",
    "make_packager": "base",
    "packager_class": "base",
    "GitArchivePackager": "git",
    "PatternPackager": "pattern",
    "HybridPackager": "hybrid",
    "ProjectPackager": "project",
    "ConfigMapPackager": "configmap",
}

__getattr__, __dir__ = lazy_names(__name__, _WHERE)
