"""``run.cli.main`` and ``create_cli`` in this process."""

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

import runyard as run
from runyard.cli.entrypoints import options
from runyard.cli.entrypoints.helppage import docs_of
from runyard.cli.entrypoints.program import entry_of
from runyard.errors import ConfigError, LaunchInsideJob


def fit(size: int = 1, epochs: int = 2):
    print(f"size {size}, epochs {epochs}")


def main(monkeypatch, fn, *args, **options):
    monkeypatch.setattr(sys, "argv", ["fit.py", *args])
    run.cli.main(fn, **options)


def test_it_returns_when_all_went_well(monkeypatch, capsys):
    main(monkeypatch, fit, "size=3", "--direct", "--yes")
    assert capsys.readouterr().out == "size 3, epochs 2\n"


def test_it_ends_with_the_exit_code(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        main(monkeypatch, fit, "sise=3")
    assert end.value.code == 2
    assert "fit takes no argument 'sise'" in capsys.readouterr().err


def test_a_direct_run_is_not_detached(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(monkeypatch, fit, "--direct", "--detach", "--yes")
    assert "--direct and --detach contradict each other" in capsys.readouterr().err


def test_defaults_for_options(monkeypatch, capsys):
    main(monkeypatch, fit, "size=4", cmd_defaults={"direct": True, "--yes": True})
    assert capsys.readouterr().out == "size 4, epochs 2\n"
    with pytest.raises(SystemExit):
        main(monkeypatch, fit, cmd_defaults={"drect": True})
    assert "cmd_defaults: fit has no option 'drect'\n  -> did you mean 'direct'?" in capsys.readouterr().err


def test_a_default_factory_of_the_script(monkeypatch, capsys):
    for default in (lambda: run.Partial(fit, size=8), run.Partial(fit, size=8)):
        main(monkeypatch, fit, "epochs=1", "--direct", "--yes", default_factory=default)
        assert capsys.readouterr().out == "size 8, epochs 1\n"


def test_a_lazy_entrypoint(monkeypatch, capsys):
    main(monkeypatch, run.LazyEntrypoint(fit, size=5), "epochs=1", "--direct", "--yes")
    assert capsys.readouterr().out == "size 5, epochs 1\n"


def test_a_script_that_a_job_loads_launches_nothing(monkeypatch):
    monkeypatch.setenv("RUNYARD_LOADING", "1")
    with pytest.raises(LaunchInsideJob):
        main(monkeypatch, fit)


def test_y_means_one_thing(monkeypatch, capsys):
    for args in (["-y"], ["-y", "size=3"]):
        with pytest.raises(SystemExit):
            main(monkeypatch, fit, *args)
        assert "--yes launches without asking" in capsys.readouterr().err
    names = [name for option in options.make(entry_of(fit)) for name in option.opts + option.secondary_opts]
    assert len(names) == len(set(names))


def test_a_command_without_executor_takes_yes_too(monkeypatch, capsys):
    run.cli.entrypoint(enable_executor=False, name="here")(fit)
    try:
        main(monkeypatch, fit, "size=2", "--yes")
        assert capsys.readouterr().out == "size 2, epochs 2\n"
        with pytest.raises(SystemExit):
            main(monkeypatch, fit, "--detach")
    finally:
        delattr(fit, "__runyard_entrypoint__")


def test_direct_runs_have_the_executors_environment_and_plugins(monkeypatch, capsys):
    def show():
        import os

        print(os.environ["A"])

    main(monkeypatch, show, "executor=local", "executor.env_vars.A=1", "--direct", "--yes")
    assert capsys.readouterr().out == "1\n"


@dataclass
class Login:
    user: str = "me"
    api_key: str = "written-in-code"


def test_no_secret_of_a_default_is_shown(monkeypatch, capsys):
    def visit(login: Login = Login(), more: list[Login] = [Login()], by: dict = {"a_token": "written-in-code"}):  # noqa: B006, B008
        pass

    for args in (["--help"], ["--dryrun", "user"], ["--direct", "--yes", "--verbose"]):
        with contextlib.suppress(SystemExit):
            main(monkeypatch, visit, *args)
    shown = "".join(capsys.readouterr())
    assert "written-in-code" not in shown
    assert shown.count("Login(user='me', api_key=***)") == 4


@pytest.mark.parametrize("typed", ["del task", "task = 3"])
def test_a_task_that_is_gone_after_the_repl(monkeypatch, capsys, typed):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{typed}\n"))
    with pytest.raises(SystemExit) as end:
        main(monkeypatch, fit, "--repl", "--yes", "--direct")
    assert end.value.code == 2
    assert "task is no task any more, but " in capsys.readouterr().err


@dataclass
class Mine(run.cli.RunContext):
    team: str = "a"


def show(ctx: Mine, size: int = 1):
    print(ctx.team, ctx.name, size)


def other(ctx: run.cli.RunContext = Mine(team="c", name="given")):  # noqa: B008
    print(ctx.team, ctx.name)


def test_a_context_of_ones_own(monkeypatch, capsys):
    main(monkeypatch, show, "run.team=b", "--yes", "--name=n")
    main(monkeypatch, other, "--yes")
    assert capsys.readouterr().out == "b n 1\nc given\n"


def test_what_cannot_be_a_program():
    async def later():
        pass

    def items():
        yield 1

    for given in ("train", later, items):
        with pytest.raises(ConfigError, match="cannot be a command"):
            entry_of(given)


def test_docstrings_of_three_styles():
    def google():
        """Train it.

        Args:
            lr (float): How fast
                it learns.
            **rest: Others.

        Returns:
            Nothing.
        """

    def numpy():
        """Train it.

        Parameters
        ----------
        lr : float, optional
            How fast
            it learns.
        rest
            Others.

        Returns
        -------
        None
        """

    def sphinx():
        """Train it.

        :param float lr: How fast
            it learns.
        :param rest: Others.
        :returns: nothing
        """

    for fn in (google, numpy, sphinx):
        assert docs_of(fn) == ("Train it.", {"lr": "How fast it learns.", "rest": "Others."})
