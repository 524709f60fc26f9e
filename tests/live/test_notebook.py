"""A real notebook kernel: functions defined in cells run as tasks, and objects show themselves."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.live

CELLS = [
    "import runyard as run\n"
    "class Model:\n"
    "    def __init__(self, width: int): self.width = width\n"
    "def train(model, scale=2):\n"
    "    print('width', model.width * scale)\n",
    "task = run.Partial(train, model=run.Config(Model, width=21))\n"
    "exp = run.Experiment('in-a-notebook')\n"
    "exp.add(task, name='cell'); exp.add(run.Script(inline='echo after'), dependencies=['cell'], name='after')\n"
    "results = exp.run(tail_logs=True)\n"
    "print('states', [str(r.status) for r in results.values()])\n",
    "exp",
    "task",
    "r = run.run(run.Partial(train, model=run.Config(Model, width='x'), scale=None), raise_on_failure=False)\n"
    "print('second', r.status, r.exit_code)\n",
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_functions_from_cells_run_and_objects_show_themselves(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    client = nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "RUNYARD_HOME": str(tmp_path / "home"), "NO_COLOR": "1"})

    text = ["".join(o.get("text", "") for o in cell.outputs if o.output_type == "stream") for cell in book.cells]
    assert "cell  | width 42" in text[1]
    assert "after | after" in text[1]
    assert "states ['SUCCEEDED', 'SUCCEEDED']" in text[1]
    html = book.cells[2].outputs[0].data["text/html"]
    assert "in-a-notebook" in html
    assert "succeeded" in html
    shown = book.cells[3].outputs[0].data
    assert "image/svg+xml" in shown or "train" in shown["text/html"]
    assert "TypeError" in text[4]
    assert "second FAILED 1" in text[4]
