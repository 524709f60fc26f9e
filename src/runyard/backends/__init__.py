"""Backends: one module a kind of scheduler, behind the protocol in :mod:`runyard.backends.base`.

The other modules are what backends share: the script around a job (``wrapper``), what it leaves
behind (``results``, ``logfiles``), processes of this machine, and its GPUs.
"""
