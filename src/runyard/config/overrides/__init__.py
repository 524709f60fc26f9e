"""Overrides as they are written on a command line: ``model.layers[0].size*=2``, ``model=my_model(size=3)``.

Pure: text in, values out. :mod:`grammar` parses without looking anything up, :mod:`coerce` makes values of annotated
types, :mod:`apply` changes a Config or an object. What is looked up (factories, files) comes through
:class:`Sources`, so that a command line, a recipe or a test brings its own.
"""

from __future__ import annotations

from runyard.config.overrides.grammar import Override, parse, parse_path, parse_value, path_text
from runyard.config.overrides.sources import Place, Sources

__all__ = ["Override", "Place", "Sources", "parse", "parse_path", "parse_value", "path_text"]
