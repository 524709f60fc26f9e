"""The call tree: a task as JSON, which a job runs without Fiddle and without Runyard.

:func:`encode` makes it, :mod:`runyard.runner.pytask` runs it in the job (its docstring has the
format), :func:`summary` shows it without importing user code, and :func:`decode` turns it back
into a :class:`~runyard.config.Partial`. Importing this module does not import Fiddle.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runyard.config import naming
from runyard.config.encoder import Encoder, dump_by_value, is_buildable, unpack
from runyard.config.outline import summary
from runyard.errors import ConfigError
from runyard.runner.pytask import walk
from runyard.secrets import Secret, Unrecorded

if TYPE_CHECKING:
    from runyard.config.core import Partial

__all__ = ["PyCall", "decode", "encode", "is_buildable", "summary"]

VERSION = 1
"""Of the format of ``call.json``."""


@dataclass(frozen=True)
class PyCall:
    """A Python task, ready to travel.

    Attributes:
        name: The task's default name: that of the function.
        document: The call tree, JSON-able.
        pickled: The functions and classes that travel by value, or None.
        main_script: Absolute path of the launching script, when the tree names things defined in it.
        main_package: The package that script belongs to, when it was run with ``python -m``.
        secrets: The values that the tree leaves out, by the name that stands in it.
    """

    name: str
    document: dict[str, Any]
    pickled: bytes | None = None
    main_script: str | None = None
    main_package: str | None = None
    secrets: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)

    def files(self, main: str | None = None, path: Sequence[str] = (), argv: Sequence[str] = ()) -> dict[str, bytes]:
        """Return the files that travel next to ``pytask.py``: relative name → content.

        Args:
            main: Where the launching script lies in the job: relative to the working directory (or to
                ``call.json``), or absolute. Needed when :attr:`main_script` is not None.
            path: More entries for ``sys.path``, after the script's folder and the working directory.
            argv: Arguments of the launching script, which may read them while the job loads it.
        """
        call = {
            "version": VERSION,
            "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
            "main": main,
            "package": self.main_package,
            "path": list(path),
            "argv": list(argv),
            "task": self.document,
        }
        files = {"call.json": json.dumps(call, indent=1).encode() + b"\n"}
        if self.pickled is not None:
            files["call.pkl"] = self.pickled
            files.update(_vendored_cloudpickle())
        return files


def _vendored_cloudpickle() -> dict[str, bytes]:
    import cloudpickle

    folder = Path(cloudpickle.__file__).parent
    return {f"vendor/cloudpickle/{file.name}": file.read_bytes() for file in sorted(folder.glob("*.py"))}


def encode(task: Any, root: str = "task") -> PyCall:
    """Turn a task into what travels to the job.

    Args:
        task: A Partial, a Config, a ``functools.partial``, a LazyEntrypoint or a plain callable.
        root: How messages call the task.

    Raises:
        SerializationError: when an argument cannot travel; its ``path`` says which.
        ConfigError: when ``task`` is no task.

    Example:
        >>> encode(print).document
        {'$call': 'builtins:print', 'args': [], 'kwargs': {}}
    """
    if type(task).__name__ == "LazyEntrypoint" and hasattr(task, "resolve"):
        task = task.resolve()
    encoder = Encoder(hide=True)
    document = encoder.task(task, root)
    script = naming.main_script(encoder.uses_main) if encoder.uses_main else None
    return PyCall(
        name=naming.title(unpack(task, root)[0]),
        document=document,
        pickled=dump_by_value(encoder.by_value, root) if encoder.by_value else None,
        main_script=script[0] if script else None,
        main_package=script[1] if script else None,
        secrets=encoder.secrets,
    )


def recorded_secrets(document: Any) -> dict[str, Secret]:
    """Return where a launch from the record takes the values from that a call tree leaves out, by their names.

    Example:
        >>> recorded_secrets({"$call": "m:f", "kwargs": {"key": {"$secret": "HF_TOKEN"}}})
        {'HF_TOKEN': Secret('HF_TOKEN')}
    """
    nodes = (node for node in walk(document) if "$secret" in node)
    return {n["$secret"]: Unrecorded(n["$secret"], n["at"]) if "at" in n else Secret(n["$secret"]) for n in nodes}


def decode(
    document: dict[str, Any],
    *,
    pickled: bytes | None = None,
    main: str | None = None,
    package: str | None = None,
) -> Partial[Any]:
    """Turn a call tree back into a Partial. This imports the user's code, and unpickles ``pickled``.

    Args:
        document: The tree, or the whole content of ``call.json``.
        pickled: The content of ``call.pkl``, when the tree refers to values in it.
        main: Path of the launching script, for names in ``__main__``; by default the running one.
        package: The package of that script.

    Raises:
        ConfigError: when a name cannot be found.
    """
    from runyard.config.decoder import decode_tree

    if "task" in document and "version" in document:
        package = package or document.get("package")
        document = document["task"]
    values: Callable[[], Sequence[Any]] | None = None
    if pickled is not None:
        import cloudpickle

        content = pickled
        values = lambda: cloudpickle.loads(content)  # noqa: E731
    if "$call" not in document:
        raise ConfigError("this is no call tree: it has no $call at its top")
    return decode_tree(document, values, main, package)
