"""The subjects are importable by their name, as a user's module would be."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
