"""Values that must never show: how they are recognised, named and blotted out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runyard import tokens
from runyard.errors import ConfigError

MASK = "***"
ARGUMENT = "RUNYARD_ARG_"
"""How variables begin that bring secrets to a function's arguments; :mod:`runyard.runner.pytask` takes them off."""
SHORTEST_SEARCHED = 6
"""Values shorter than this are not searched for in text: they would match by chance."""

_MARKS = frozenset({"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"})
_ACCESS = frozenset({"SECRET", "PASSWORD", "CREDENTIAL", "API", "ACCESS", "AUTH", "PRIVATE"})
_TOKEN = re.compile(r"[\w.+/=~:-]{6,}\Z", re.ASCII)
_CREDENTIAL = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w.+/=~-]{16,}\Z", re.ASCII)


@dataclass(frozen=True)
class Secret:
    """A value taken from the launching environment at submit time, and never stored.

    It stands for the value of a variable (``env_vars``), or of an argument of a ``Partial`` or ``Config``.

    Args:
        name: The environment variable that holds it where the launch happens. ``WANDB_API_KEY`` and ``HF_TOKEN`` may
            also be kept where ``wandb login`` and ``hf auth login`` put them.

    Example:
        >>> executor_env = {"WANDB_API_KEY": Secret("WANDB_API_KEY")}
        >>> repr(executor_env["WANDB_API_KEY"])
        "Secret('WANDB_API_KEY')"
    """

    name: str

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    def resolve(self) -> str:
        """Return the value.

        Raises:
            ConfigError: when the variable is not set.
        """
        value = os.environ.get(self.name)
        if value is None and (value := tokens.stored(self.name)) is None:
            raise ConfigError(
                f"the secret {self.name} is not set in this environment",
                hint=f"export {self.name}=… before launching",
            )
        return value


@dataclass(frozen=True, repr=False)
class Unrecorded(Secret):
    """What stands in a record for the text of an argument. A rerun takes it from ``RUNYARD_ARG_`` and this name.

    Args:
        place: The argument, for messages.
    """

    place: str = ""

    def resolve(self) -> str:
        """Return the value, which was exported for the rerun.

        Raises:
            ConfigError: when it was not.
        """
        variable = ARGUMENT + self.name
        if variable not in os.environ:
            raise ConfigError(
                f"the value of {self.place} was not recorded: it was given as text, and looks like a secret",
                hint=f"export {variable}=… for this launch, or launch from the script, where run.Secret(NAME) makes "
                "that unnecessary",
            )
        return os.environ[variable]


def looks_secret(name: str) -> bool:
    """Say whether a variable's name sounds like a secret.

    A word between underscores (or hyphens) must be one of KEY, TOKEN, SECRET, PASSWORD, CREDENTIAL.

    Example:
        >>> looks_secret("HF_TOKEN"), looks_secret("TOKENIZERS_PARALLELISM"), looks_secret("MAX_TOKENS")
        (True, False, False)
    """
    return not _MARKS.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return name.upper().replace("-", "_").split("_")


def is_credential(text: str) -> bool:
    """Say whether a text looks like a credential itself, and not like the name or place of one.

    Example:
        >>> is_credential("hf_AbCdEf0123456789"), is_credential("/run/secrets/hf_token")
        (True, False)
    """
    return _CREDENTIAL.match(text) is not None


def is_secret_argument(name: str, text: str) -> bool:
    """Say whether the text of a function's argument is taken for a secret.

    Names alone decide for variables. Arguments whose names end in ``key`` or ``token`` are often columns and special
    tokens, which have to stay in the record: there the text decides too.

    Example:
        >>> is_secret_argument("api_key", "abc"), is_secret_argument("password", "abc")
        (True, True)
        >>> is_secret_argument("hf_token", "hf_abcdef"), is_secret_argument("pad_token", "<|endoftext|>")
        (True, False)
        >>> is_secret_argument("wandb_key", "0123456789abcdef"), is_secret_argument("sort_key", "accuracy")
        (True, False)
    """
    words = _words(name)
    if text in ("", MASK) or _MARKS.isdisjoint(words):
        return False
    if words[-1] in _MARKS and not _ACCESS.isdisjoint(words):
        return True
    return is_credential(text) or (words[-1] == "TOKEN" and _TOKEN.match(text) is not None)


def hide_known(env: Mapping[str, str | Secret], environ: Mapping[str, str]) -> dict[str, str | Secret]:
    """Return an environment in which what is the value of a secret here is that :class:`Secret`, by whatever name.

    Example:
        >>> hide_known({"LOGIN": "hf_abcdef", "MODE": "fast"}, {"HF_TOKEN": "hf_abcdef"})
        {'LOGIN': Secret('HF_TOKEN'), 'MODE': 'fast'}
    """
    known = {value: name for name, value in environ.items() if looks_secret(name) and len(value) >= SHORTEST_SEARCHED}
    return {name: Secret(known[v]) if isinstance(v, str) and v in known else v for name, v in env.items()}


def split_env(env: Mapping[str, str | Secret]) -> tuple[dict[str, str], dict[str, str | Secret]]:
    """Split an environment into what may be shown and what is secret."""
    shown: dict[str, str] = {}
    hidden: dict[str, str | Secret] = {}
    for name, value in env.items():
        if isinstance(value, Secret) or looks_secret(name):
            hidden[name] = value
        else:
            shown[name] = value
    return shown, hidden


def resolve(hidden: Mapping[str, str | Secret]) -> dict[str, str]:
    """Return the values of secrets by variable name.

    Raises:
        ConfigError: when one is not set, or was recorded as ``***`` and is not set here.
    """
    out = {}
    for name, value in hidden.items():
        if isinstance(value, Secret):
            out[name] = value.resolve()
        elif value == MASK:
            out[name] = Secret(name).resolve()
        else:
            out[name] = str(value)
    return out


def redact(text: str, values: Iterable[str]) -> str:
    """Return ``text`` with every secret value of at least six characters replaced by ``***``.

    Example:
        >>> redact("login with hf_abcdef", ["hf_abcdef"])
        'login with ***'
    """
    found = sorted({v for v in values if len(v) >= SHORTEST_SEARCHED and v in text}, key=len, reverse=True)
    if not found:
        return text
    return re.sub("|".join(map(re.escape, found)), MASK, text)


def redact_word(word: str, values: Iterable[str]) -> str:
    """Return a word of a command line as it may be shown: also ``NAME=VALUE`` where the name sounds like a secret.

    Example:
        >>> redact_word("model.api_token=abc", []), redact_word("--hf-token=abc", []), redact_word("lr=1", [])
        ('model.api_token=***', '--hf-token=***', 'lr=1')
    """
    name, equals, _ = word.partition("=")
    if equals and looks_secret(name.lstrip("-").rpartition(".")[2]):
        return f"{name}={MASK}"
    return redact(word, values)
