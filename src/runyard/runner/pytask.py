"""Run one Python task inside a job: ``python -u pytask.py call.json [code]``.

``code`` is the folder in which relative paths of ``call.json`` begin (default: the working directory).

This file travels with the job. It needs Python 3.8 or newer and its standard library, nothing else:
neither Runyard nor Fiddle. It reads the call tree that ``runyard.config.calltree.encode`` wrote,
builds it from the leaves up (shared nodes once) and calls its top.

A node of the tree is JSON. An object with a key that begins with ``$`` is a directive, everything
else is plain data::

    {"$call": TARGET, "args": [..], "kwargs": {..}}     call it (the top, and nested Configs)
    {"$partial": TARGET, "args": [..], "kwargs": {..}}  functools.partial
    {"$new": TARGET, "args": [..], "kwargs": {..}}      a plain value made by its constructor
    {"$name": "pkg.mod:qualname"}   {"$value": 0}   {"$attr": "name", "of": NODE}
    {"$dataclass": TARGET, "state": {..}}               rebuilt without calling __init__
    {"$tuple": [..], "type": TARGET?}  {"$list": [..]}  {"$dict": [[key, value], ..]}
    {"$set": [..]}  {"$frozenset": [..]}  {"$bytes": base64}  {"$path": ".."}
    {"$float": "nan"}  {"$int": hex}
    {"$secret": "HF_TOKEN", "at": ".."?}                text that came in the variable RUNYARD_ARG_HF_TOKEN
    {"$ref": 3}                                         the node that carries "$id": 3

``TARGET`` is a name ("pkg.mod:qualname") or a node. ``$value`` counts in the cloudpickle file next
to ``call.json``. Names in ``__main__`` come from the script that launched, loaded by its path.

Exit codes: the task's own, 1 after an uncaught exception, 2 when the task cannot be started.
"""

# pathlib would cost its import in every job, and inert methods take any argument:
# ruff: noqa: ARG002
from __future__ import annotations

import base64
import functools
import importlib
import importlib.machinery
import importlib.util
import json
import os
import pickle
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:  # annotations are never evaluated here, so they may be newer than Python 3.8
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Any

MAIN = "__runyard_main__"
"""The module name under which the launching script is loaded; it is importable in child processes too."""

LOADING = "RUNYARD_LOADING"
"""Set while the launching script is loaded: Runyard then refuses to launch."""

CALL = "RUNYARD_CALL"
"""The path of ``call.json``, for spawned child processes (multiprocessing, DataLoader workers)."""

CODE = "RUNYARD_CODE_DIR"
"""The folder of the job's code, for the task and for its spawned children."""

ARGUMENT = "RUNYARD_ARG_"
"""How variables begin that bring secret arguments. They are taken off before any of the user's code runs."""

_DIRECTIVES = ("call", "partial", "new", "name", "value", "attr", "dataclass", "tuple", "list", "dict", "set")
_MORE_DIRECTIVES = ("frozenset", "bytes", "path", "float", "int", "ref", "secret")


class CannotStart(Exception):
    """The task cannot be started; its message says why and what to do. Exit code 2."""


# ---------------------------------------------------------------- building the call


class Builder:
    """Turn a call tree into objects.

    Args:
        tree: The whole tree, so that ``$ref`` finds its node.
        values: Returns the list of objects that travelled by value.
        main: Returns the loaded launching script, for names in ``__main__``.
        secrets: Values of secret arguments, by name.
    """

    def __init__(
        self,
        tree: Any,
        values: Callable[[], Sequence[Any]] | None,
        main: Callable[[], Any] | None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.tree = tree
        self.values = values
        self.main = main
        self.secrets = secrets or {}
        self.done: dict[int, Any] = {}
        self.nodes: dict[int, dict[str, Any]] | None = None

    def build(self, node: Any, path: str = "task") -> Any:
        """Return the object that ``node`` describes; ``path`` is for messages."""
        if isinstance(node, list):
            return [self.build(item, f"{path}[{i}]") for i, item in enumerate(node)]
        if not isinstance(node, dict):
            return node
        kind = directive(node)
        if kind is None:
            return {key: self.build(value, f"{path}[{key!r}]") for key, value in node.items()}
        if kind == "ref":
            return self.shared(node["$ref"], path)
        if "$id" in node:
            if node["$id"] not in self.done:
                self.done[node["$id"]] = self.make(kind, node, path)
            return self.done[node["$id"]]
        return self.make(kind, node, path)

    def shared(self, number: int, path: str) -> Any:
        """Return the shared object ``number``, building it when nothing before did."""
        if number not in self.done:
            if self.nodes is None:
                self.nodes = {}
                for node in walk(self.tree):
                    if "$id" in node:
                        self.nodes[node["$id"]] = node
            if number not in self.nodes:
                raise CannotStart(f"{path}: the call tree refers to a node {number!r} that it lacks")
            self.build(self.nodes[number], path)
        return self.done[number]

    def make(self, kind: str, node: dict[str, Any], path: str) -> Any:
        """Return the object of one directive, whatever its ``$id``."""
        content = node["$" + kind]
        if kind in ("call", "partial", "new"):
            return getattr(self, kind)(self.target(content, path), *self.arguments(node, path), path=path)
        if kind == "name":
            return self.resolve(content, path)
        if kind == "value":
            return self.values()[content] if self.values else None
        if kind == "attr":
            return getattr(self.build(node["of"], path), content)
        if kind == "dataclass":
            return self.dataclass(self.target(content, path), node["state"], path)
        if kind == "dict":
            pairs = [(self.build(k, path), self.build(v, f"{path}[{k!r}]")) for k, v in content]
            return dict(pairs)
        if kind in ("tuple", "list", "set", "frozenset"):
            items = self.build(content, path)
            if "type" in node:
                return self.target(node["type"], path)._make(items)
            return {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}[kind](items)
        if kind == "path":
            import pathlib

            return pathlib.Path(content)
        if kind == "secret":
            return self.secret(content, node, path)
        if kind == "bytes":
            return base64.b64decode(content)
        return float(content) if kind == "float" else int(content, 16)

    def arguments(self, node: dict[str, Any], path: str) -> tuple[list[Any], dict[str, Any]]:
        """Return the built positional and keyword arguments of a call."""
        args = [self.build(item, f"{path}[{i}]") for i, item in enumerate(node.get("args", ()))]
        kwargs = {key: self.build(item, path + "." + key) for key, item in node.get("kwargs", {}).items()}
        return args, kwargs

    def call(self, target: Any, args: list[Any], kwargs: dict[str, Any], path: str) -> Any:
        """Call a nested Config's target; an error says where in the task it stands."""
        try:
            return plain(target)(*args, **kwargs)
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"while building {path}")
            raise

    def partial(self, target: Any, args: list[Any], kwargs: dict[str, Any], path: str) -> Any:
        """Return a nested Partial's target with its arguments bound."""
        return functools.partial(plain(target), *args, **kwargs)

    def new(self, target: Any, args: list[Any], kwargs: dict[str, Any], path: str) -> Any:
        """Make a value by its constructor."""
        return target(*args, **kwargs)

    def secret(self, name: str, node: dict[str, Any], path: str) -> Any:
        """Return the value of a secret argument."""
        if name not in self.secrets:
            raise CannotStart(
                f"{path} is a secret, and the environment lacks {ARGUMENT}{name}, which should have brought it\n"
                "  -> does something between the job's script and Python clear the environment?"
            )
        return self.secrets[name]

    def dataclass(self, cls: Any, state: dict[str, Any], path: str) -> Any:
        """Rebuild a dataclass instance as it was; ``__init__`` and ``__post_init__`` do not run again."""
        instance = cls.__new__(cls)
        for name, value in state.items():
            object.__setattr__(instance, name, self.build(value, path + "." + name))
        return instance

    def target(self, target: Any, path: str) -> Any:
        """Return what a directive calls or instantiates: by name, or any node."""
        return self.resolve(target, path) if isinstance(target, str) else self.build(target, path)

    def resolve(self, name: str, path: str) -> Any:
        """Import ``pkg.mod:qual.name`` and return the object; with nothing after the colon, the module."""
        module_name, _, qualname = name.partition(":")
        if module_name == "__main__" and self.main is not None:
            found = self.main()
        else:
            found = importlib.import_module(module_name)
        for part in qualname.split(".") if qualname else ():
            try:
                found = getattr(found, part)
            except AttributeError:
                where = getattr(found, "__file__", None) or module_name
                raise CannotStart(
                    f"{path}: {part!r} is not defined in {where} when the job loads it.\n"
                    "  -> define it at the top level, above the launch and outside "
                    '`if __name__ == "__main__":`, or in a module that is packaged with the job'
                ) from None
        return found


def plain(target: Any) -> Any:
    """Return the function behind ``@run.autoconvert``: in the job it builds, with or without Runyard."""
    return target.__wrapped__ if getattr(target, "__runyard_autoconvert__", False) is True else target


def directive(node: dict[str, Any]) -> str | None:
    """Return which directive ``node`` is, or None for plain data.

    Raises:
        CannotStart: for a directive that this version does not know.
    """
    for kind in _DIRECTIVES + _MORE_DIRECTIVES:
        if "$" + kind in node:
            return kind
    for key in node:
        if key.startswith("$"):
            raise CannotStart(f"the call tree has a directive {key!r} that this runner does not know")
    return None


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of a tree."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


# ---------------------------------------------------------------- the launching script


def load_main(path: str, package: str | None = None) -> types.ModuleType:
    """Load the launching script under the name ``__runyard_main__``, once.

    Its ``if __name__ == "__main__":`` part does not run. A launch at its top level is refused, and
    what the script defined above that line is used.

    Raises:
        CannotStart: when there is no such file, or the script ends the process while it is loaded.
    """
    if MAIN in sys.modules:
        return sys.modules[MAIN]
    if not os.path.isfile(path):
        raise CannotStart(f"the launching script {path} is not in the job\n  -> package it with the code")
    spec = importlib.util.spec_from_loader(MAIN, importlib.machinery.SourceFileLoader(MAIN, path), origin=path)
    assert spec is not None
    assert spec.loader is not None
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    module.__package__ = package or ""
    sys.modules[MAIN] = module  # before it runs: dataclasses, Enum and pickle look themselves up
    os.environ[LOADING] = "1"
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise CannotStart(
            f"{path} ended the process (exit {error.code!r}) while the job loaded it to find the task\n"
            '  -> put what only the launch needs (argument parsing) under `if __name__ == "__main__":`'
        ) from None
    except BaseException as error:
        if not any(base.__name__ == "LaunchInsideJob" for base in type(error).__mro__):
            del sys.modules[MAIN]
            raise
    finally:
        os.environ.pop(LOADING, None)
    return module


class _Finder:
    """Import hook: the launching script by name, an inert Runyard where there is none, by-value picklers."""

    def __init__(self, main: str | None, package: str | None) -> None:
        self.main = main
        self.package = package
        self.inert: bool | None = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == MAIN:
            return self.spec(name) if self.main else None
        if name == "runyard" or name.startswith("runyard."):
            if self.inert is None:
                self.inert = not self.runyard_works()
            return self.spec(name) if self.inert else None
        if name.endswith("cloudpickle.cloudpickle"):
            return _by_value_main(self.real(name, path))
        return None

    def spec(self, name: str) -> Any:
        return importlib.machinery.ModuleSpec(name, self, is_package=name != MAIN)  # type: ignore[arg-type]

    def real(self, name: str, path: Any = None) -> Any:
        """Return what the other finders say; imports nothing."""
        specs = (finder.find_spec(name, path, None) for finder in sys.meta_path if finder is not self)
        return next((spec for spec in specs if spec is not None), None)

    def runyard_works(self) -> bool:
        """Tell whether the real Runyard could be imported here, with what it needs."""
        spec = self.real("runyard")
        has_code = spec is not None and spec.origin is not None  # not a folder that happens to be named so
        return has_code and sys.version_info >= (3, 11) and self.real("fiddle") is not None

    def create_module(self, spec: Any) -> Any:
        if spec.name == MAIN:
            assert self.main is not None
            return load_main(self.main, self.package)
        return _InertModule(spec.name)

    def exec_module(self, module: Any) -> None:
        """Everything is done by ``create_module``."""


def _by_value_main(spec: Any) -> Any:
    """Make a copy of cloudpickle (ray's, joblib's) treat the launching script like ``__main__``: by value.

    Workers on other machines cannot import ``__runyard_main__``.
    """
    if spec is None or spec.loader is None:
        return None
    run = spec.loader.exec_module

    def exec_module(module: Any) -> None:
        run(module)
        by_value = getattr(module, "_PICKLE_BY_VALUE_MODULES", None)
        if isinstance(by_value, set):
            by_value.add(MAIN)

    spec.loader.exec_module = exec_module
    return spec


# ---------------------------------------------------------------- the inert Runyard


class LaunchInsideJob(BaseException):
    """Launching was tried where only the inert Runyard is: inside a job."""


def _refuse(name: str) -> Callable[..., Any]:
    def launch(*_args: Any, **_kwargs: Any) -> Any:
        raise LaunchInsideJob(
            f"{name} was called inside a job, where Runyard is not installed: launching is refused\n"
            '  -> put the launch under `if __name__ == "__main__":`, or install runyard in the job'
        )

    return launch


_LAUNCHES = ("runyard.run", "runyard.cli.main", "runyard.cli.main.main")


@functools.lru_cache(maxsize=None)  # the same class every time, for isinstance and pickle
def _inert(name: str) -> Any:
    """Return the inert object of one dotted name: a class for ``Capitalised``, else a do-nothing callable."""
    last = name.rpartition(".")[2]
    if name in _LAUNCHES or name.endswith(".Experiment.run"):
        return _refuse(name)
    if last == "LaunchInsideJob":
        return LaunchInsideJob
    if last.endswith("Error") or last in ("TaskFailed", "Unavailable", "LeaseLost", "UnknownExperiment"):
        return type(last, (Exception,), {"__module__": "runyard"})
    if last[:1].isupper():
        return _InertType(last, (_InertObject,), {"__module__": name.rpartition(".")[0], "_inert_name": name})
    return _InertCallable(name)


class _InertType(type):
    """Classes such as ``run.Plugin``: may be subclassed, called, subscripted; any attribute is inert."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _inert(f"{cls._inert_name}.{name}")

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__


class _InertBase:
    _inert_name = "runyard"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _inert(f"{self._inert_name}.{name}")

    def __getitem__(self, item: Any) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        return None

    def __setitem__(self, key: Any, value: Any) -> None:
        return None


class _InertObject(_InertBase, metaclass=_InertType):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


class _InertCallable(_InertBase):
    """``run.autoconvert`` and the like: as a decorator, with or without arguments, it changes nothing."""

    def __init__(self, name: str) -> None:
        self._inert_name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and (callable(args[0]) or isinstance(args[0], (classmethod, staticmethod))):
            return args[0]
        return self


class _InertModule(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _inert(f"{self.__name__}.{name}")


# ---------------------------------------------------------------- running


def read_call(path: str) -> dict[str, Any]:
    """Return the content of ``call.json``.

    Raises:
        CannotStart: when it is missing, damaged or of another version.
    """
    try:
        with open(path, encoding="utf-8") as file:
            call = json.load(file)
        version = call["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotStart(f"cannot read the task from {path}: {error}") from None
    if version != 1:
        raise CannotStart(f"{path} has format version {version!r}; this runner reads version 1")
    return call  # type: ignore[no-any-return]


def load_values(folder: str, python: str) -> Sequence[Any]:
    """Unpickle what travelled by value, with the cloudpickle that travelled along.

    Raises:
        CannotStart: when this Python's minor version differs from the one that pickled.
    """
    here = ".".join(map(str, sys.version_info[:2]))
    if here != python:
        raise CannotStart(
            "this task holds functions that travel by value (notebook, lambda or nested function); "
            f"they were pickled by Python {python}, and the job runs Python {here} ({sys.executable})\n"
            f"  -> use Python {python} in the job (python=...), or move the functions into a module"
        )
    vendor = os.path.join(folder, "vendor")
    sys.path.insert(0, vendor)  # only for this import: the pickle needs the very version that made it
    try:
        importlib.import_module("cloudpickle")
    finally:
        sys.path.remove(vendor)
    with open(os.path.join(folder, "call.pkl"), "rb") as file:
        return pickle.load(file)  # type: ignore[no-any-return]


def in_code(path: str) -> str:
    """Return a path of the call, absolute: relative ones begin in the folder of the code."""
    return os.path.abspath(os.path.join(os.environ.get(CODE, ""), path))


def set_up(call_path: str) -> tuple[dict[str, Any], str | None]:
    """Prepare this process (or a spawned child of it): import hooks and the launching script's path."""
    call = read_call(call_path)
    main = call.get("main")
    if main is not None:
        beside = os.path.join(os.path.dirname(call_path), main)
        main = in_code(main)
        main = beside if os.path.isfile(beside) and not os.path.isfile(main) else main
    sys.meta_path.insert(0, _Finder(main, call.get("package")))
    return call, main


def search_path(main: str | None, extra: Sequence[str]) -> None:
    """Put the script's folder, the working directory and ``extra`` first on ``sys.path``; take ours off."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    wanted = [os.path.dirname(main)] if main else []
    wanted += [os.getcwd()] + [in_code(entry) for entry in extra]
    sys.path[:] = list(dict.fromkeys(wanted + rest))


def take_secrets() -> dict[str, str]:
    """Take the values of secret arguments out of the environment, and return them by name."""
    names = [name for name in os.environ if name.startswith(ARGUMENT)]
    # As bytes: the launch wrote UTF-8, whatever this process's locale is.
    return {n[len(ARGUMENT) :]: os.environb.pop(os.fsencode(n)).decode("utf-8", "surrogateescape") for n in names}


def run(call_path: str) -> None:
    """Build the call tree of ``call_path`` and call its top."""
    call_path = os.path.abspath(call_path)
    secrets = take_secrets()
    os.environ[CALL] = call_path
    os.environ.setdefault("PYTHONUNBUFFERED", "1")  # spawned children do not inherit -u
    call, main = set_up(call_path)
    search_path(main, call.get("path", ()))
    sys.argv = [main or sys.argv[0], *call.get("argv", ())]
    tree = call["task"]
    builder = Builder(
        tree,
        functools.lru_cache(None)(lambda: load_values(os.path.dirname(call_path), call["python"])),
        (lambda: load_main(main, call.get("package"))) if main else None,
        secrets,
    )
    target = plain(builder.target(tree["$call"], "task"))
    args, kwargs = builder.arguments(tree, "task")
    target(*args, **kwargs)


def own_frame(trace: TracebackType) -> bool:
    """Tell whether a traceback's first frame belongs to this runner or to the import machinery."""
    name = trace.tb_frame.f_code.co_filename
    return os.path.abspath(name) == os.path.abspath(__file__) or name.startswith("<frozen ")


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception as if the user's code had been run directly (``sys.excepthook``)."""
    sys.stdout.flush()
    while trace is not None and own_frame(trace):
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)
    if isinstance(error, ModuleNotFoundError):
        print(
            f"runyard: no module {error.name!r} in the job; python: {sys.executable}, sys.path: {sys.path}\n"
            "  -> package the code that has it (executor.packager), or install it for this Python",
            file=sys.stderr,
        )
    sys.stderr.flush()


def main() -> None:
    """Run the task named on the command line."""
    if len(sys.argv) < 2:
        sys.exit("usage: pytask.py call.json [code]")
    if len(sys.argv) > 2:
        os.environ[CODE] = sys.argv[2]
    sys.excepthook = report  # not try/except: exit codes, signals and threads stay Python's own
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        run(sys.argv[1])
    except CannotStart as error:
        print(f"runyard: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__" and CALL in os.environ:
    # A child that multiprocessing spawned runs this file first: make the launching script's names importable.
    try:
        set_up(os.environ[CALL])
    except CannotStart as error:
        print(f"runyard: {error}", file=sys.stderr)
