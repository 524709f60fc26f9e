"""One echo through ``run``: echo.py LIBRARY script|partial."""

import importlib
import sys

run = importlib.import_module(sys.argv[1])


def say(word: str) -> None:
    print(word)


if __name__ == "__main__":
    task = run.Script(inline="echo hi") if sys.argv[2] == "script" else run.Partial(say, word="hi")
    run.run(task, executor=run.LocalExecutor(), name="echo")
