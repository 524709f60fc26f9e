"""``python -m runyard``: the same as the command ``runyard``."""

from __future__ import annotations

from runyard.cli.root import main

if __name__ == "__main__":
    main()
