"""Functions as commands: ``run.cli.entrypoint``, ``factory`` and ``main``.

A command line goes one way: ``options`` and ``command`` split it, ``resolve`` makes a task and a context of it,
``flow`` shows, asks and exports, ``execute`` launches. ``registry`` holds what was decorated, and is all that
a script's import costs.
"""
