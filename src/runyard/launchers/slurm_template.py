"""A launcher of the user's own: a template of shell around the command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from runyard.errors import ConfigError
from runyard.launchers.base import Launcher, Placement, Program
from runyard.shell import Raw, quote


@dataclass(kw_only=True)
class SlurmTemplate(Launcher):
    """Run a task by a script of bash that you write as a Jinja template.

    In the template ``{{ command }}`` is the task's command; ``{{ nodes }}``, ``{{ nproc_per_node }}``, ``{{ head }}``
    (the first node), ``{{ node_rank }}`` and ``{{ job }}`` say where it runs, and ``template_vars`` adds your own.
    Every value is quoted for the shell (a :class:`~runyard.Raw` one between double quotes), except what passes through
    ``| raw``. Comments are written ``<# … #>``.
    The script runs once for each process, as ``srun`` starts it.

    Args:
        template_path: File of the template.
        template_inline: The template itself, instead of a file.
        template_vars: Further variables.

    Example:
        >>> launcher = SlurmTemplate(template_inline="ulimit -l unlimited; exec {{ command }} --tag {{ tag }}",
        ...                          template_vars={"tag": "two words"})
        >>> print(launcher.script(Placement()))
        ulimit -l unlimited; exec "$@" --tag 'two words'

    Source: Jinja's documentation, "Template Designer Documentation".
    """

    kind: ClassVar[str] = "slurm_template"

    template_path: str = ""
    template_inline: str = ""
    template_vars: dict[str, Any] = field(default_factory=dict)

    def launch(self, program: Program, place: Placement) -> tuple[str, ...]:
        """Return ``bash -c <script> bash <program>``: the script finds the command in its arguments."""
        return ("bash", "-c", self.script(place), "bash", *program.argv())

    def script(self, place: Placement) -> str:
        """Return the rendered template.

        Raises:
            ConfigError: for a template that is missing or wrong.
        """
        import jinja2

        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            autoescape=False,
            finalize=_word,
            keep_trailing_newline=True,
            comment_start_string="<#",  # "{#" stands in bash's own "${#name}"
            comment_end_string="#>",
        )
        environment.filters["raw"] = _Bare
        values = {
            "command": _Bare('"$@"'),
            "nodes": place.nnodes,
            "nproc_per_node": place.nproc_per_node,
            "head": place.head,
            "node_rank": place.node_rank,
            "job": place.job,
        }
        try:
            return environment.from_string(self._text()).render(values | self.template_vars)
        except jinja2.TemplateSyntaxError as e:
            raise ConfigError(f"{self._where()}, line {e.lineno}: {e.message}", hint="correct the template") from e
        except jinja2.UndefinedError as e:
            raise ConfigError(f"{self._where()}: {e.message}", hint="give it in template_vars") from e

    def to_dict(self) -> dict[str, Any]:
        """Return kind and fields as plain JSON, with the template itself instead of its path."""
        return {"kind": self.kind, **super().to_dict(), "template_path": "", "template_inline": self._text()}

    def _where(self) -> str:
        return f"SlurmTemplate {self.template_path or 'template_inline'}"

    def _text(self) -> str:
        if bool(self.template_path) == bool(self.template_inline):
            raise ConfigError("SlurmTemplate needs either template_path or template_inline", hint="give one of the two")
        if self.template_inline:
            return self.template_inline
        try:
            return Path(self.template_path).expanduser().read_text("utf-8")
        except OSError as e:
            raise ConfigError(
                f"SlurmTemplate.template_path={self.template_path!r} cannot be read: {e.strerror}",
                hint="give a path relative to the folder you launch from, or an absolute one",
            ) from e


class _Bare(str):
    """Text of the script itself, not quoted."""

    __slots__ = ()


def _word(value: Any) -> str:
    if isinstance(value, _Bare):
        return str(value)
    return quote(value if isinstance(value, Raw) else str(value))
