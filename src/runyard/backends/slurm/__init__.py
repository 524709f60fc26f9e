"""Slurm, from its login node or over ssh.

``options`` and ``script`` turn a job into the text that is submitted, ``commands`` and ``parse`` are pairs of pure
functions around each question asked of the cluster, ``delivery`` brings files there, ``outcome`` judges how jobs
ended, and ``backend`` puts them together.
"""
