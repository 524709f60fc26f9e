"""Files that travel with a job: standard library only, Python 3.8 or newer."""
