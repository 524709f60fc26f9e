"""The example's own functions compute what they say. That they run as jobs, ``make demo`` shows."""

import importlib.util
import json
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "digits.py"


def test_the_digits_example_trains_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    spec = importlib.util.spec_from_file_location("digits_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(digits)

    digits.prepare(tmp_path)
    for name, hidden in (("linear", ()), ("small", (32,))):
        digits.train(tmp_path, name, hidden, epochs=2)
    digits.compare(tmp_path, ["linear", "small"])

    accuracy = {name: json.loads((tmp_path / f"{name}.json").read_text())["accuracy"] for name in ("linear", "small")}
    assert all(len(values) == 2 and 0.5 < values[-1] <= 1 for values in accuracy.values())
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    best = max(accuracy, key=lambda name: accuracy[name][-1])
    assert f"{best:<8} {accuracy[best][-1]:.2%}" in printed
