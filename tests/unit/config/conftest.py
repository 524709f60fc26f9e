import sys
from pathlib import Path

import pytest

SAMPLES = str(Path(__file__).parent / "samples")
if SAMPLES not in sys.path:
    sys.path.insert(0, SAMPLES)


@pytest.fixture(scope="session")
def samples() -> str:
    return SAMPLES
