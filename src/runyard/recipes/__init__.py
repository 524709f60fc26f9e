"""Recipes: scripts that say how they are launched, with configurations beside them.

:mod:`block` reads what a script says about itself; :mod:`configs` finds and reads configurations, :mod:`overrides`
changes them and :mod:`interpolate` fills in what refers to other keys; :mod:`resolve` finds out where a launch goes;
:mod:`records` writes what is kept of it; :mod:`prepare` does all of it in turn. Nothing of a recipe is ever imported.
"""
