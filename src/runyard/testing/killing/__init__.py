"""A folder for ``PYTHONPATH``: its ``sitecustomize.py`` kills a process at an exact step of its code."""
