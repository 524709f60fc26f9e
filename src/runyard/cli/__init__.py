"""The command line: one file per command, loaded when the command is used.

``main`` is the root group. A module of a command has an attribute ``command``. What a command prints on
standard output is data; everything that is said to a person goes to standard error.
"""
