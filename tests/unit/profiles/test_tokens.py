"""Tokens that the user's own tools have stored, and the section ``[wandb]``."""

from pathlib import Path

import pytest

import runyard as run
from runyard.errors import ConfigError, ProfileError
from runyard.profiles.wandb import environment
from runyard.tokens import stored

NETRC = """machine api.wandb.ai
  login user
  password wandb_secret
machine other.org
  login user
  password other_secret
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def test_what_wandb_login_has_stored(tmp_path: Path, home: dict[str, str]) -> None:
    assert stored("WANDB_API_KEY", home) is None
    (tmp_path / ".netrc").write_text(NETRC)
    assert stored("WANDB_API_KEY", home) == "wandb_secret"
    assert stored("WANDB_API_KEY", home | {"WANDB_BASE_URL": "https://other.org:8080/"}) == "other_secret"
    (tmp_path / "named").write_text("machine api.wandb.ai login user password named_secret\n")
    assert stored("WANDB_API_KEY", home | {"NETRC": str(tmp_path / "named")}) == "named_secret"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai nonsense\n")
    assert stored("WANDB_API_KEY", home) is None


def test_what_hugging_face_has_stored(tmp_path: Path, home: dict[str, str]) -> None:
    assert stored("HF_TOKEN", home) is None
    for folder, environ in [
        (tmp_path / ".cache" / "huggingface", {}),
        (tmp_path / "xdg" / "huggingface", {"XDG_CACHE_HOME": str(tmp_path / "xdg")}),
        (tmp_path / "hf", {"HF_HOME": str(tmp_path / "hf")}),
    ]:
        folder.mkdir(parents=True)
        (folder / "token").write_text(f"{folder.name}_secret\n")
        assert stored("HF_TOKEN", home | environ) == f"{folder.name}_secret"
    (tmp_path / "mine").write_text("mine_secret")
    assert stored("HF_TOKEN", home | {"HF_TOKEN_PATH": str(tmp_path / "mine")}) == "mine_secret"
    (tmp_path / "mine").write_text("")
    assert stored("HF_TOKEN", home | {"HF_TOKEN_PATH": str(tmp_path / "mine")}) is None


def test_a_secret_is_taken_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("stored_secret")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert run.Secret("HF_TOKEN").resolve() == "stored_secret"
    monkeypatch.setenv("HF_TOKEN", "set_secret")
    assert run.Secret("HF_TOKEN").resolve() == "set_secret"
    with pytest.raises(ConfigError, match="the secret MY_TOKEN is not set"):
        run.Secret("MY_TOKEN").resolve()


def test_names_and_tokens(home: dict[str, str]) -> None:
    section = {"project": "demo", "entity": "team", "group": "g"}
    env, warnings = environment(section, {"WANDB_PROJECT": "mine"}, home | {"WANDB_API_KEY": "k", "HF_TOKEN": "h"})
    assert env == {
        "WANDB_PROJECT": "mine",
        "WANDB_ENTITY": "team",
        "WANDB_RUN_GROUP": "g",
        "WANDB_API_KEY": run.Secret("WANDB_API_KEY"),
        "HF_TOKEN": run.Secret("HF_TOKEN"),
    }
    assert warnings == []


def test_what_is_missing_is_a_warning(home: dict[str, str]) -> None:
    assert environment({}, {}, home) == ({}, [])
    env, warnings = environment({"project": "demo", "projct": "x"}, {"HF_TOKEN": run.Secret("HF_TOKEN")}, home)
    assert env == {"WANDB_PROJECT": "demo"}
    assert warnings == [
        "[wandb] projct is not used: did you mean 'project'?",
        "there is no WANDB_API_KEY, so the job goes without: run `wandb login`, or export it",
        "there is no HF_TOKEN, so the job goes without: run `hf auth login`, or export it",
    ]


def test_a_name_must_be_text(home: dict[str, str]) -> None:
    with pytest.raises(ProfileError, match=r"\[wandb\] project = 3 is no text"):
        environment({"project": 3}, {}, home)
