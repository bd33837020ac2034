"""Prompt templates: Jinja files, which `prompt_files` finds and puts together.

A file starts with YAML front matter between `---` lines:

    ---
    purpose: Write new training rows for one skill.
    variables: {skill: the skill's name, count: how many rows}
    tool: submit_rows
    version: 1
    system: You are a careful teacher.
    ---
    Write {{ count }} questions on {{ skill }}.

Files are read at each use, so an edit takes effect while a server runs. Parsed and compiled texts are cached.
"""

import hashlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataenvgym.agents.prompt_files import Line, whole_prompt
from dataenvgym.envs.errors import TeacherError

if TYPE_CHECKING:
    from jinja2 import Template, TemplateSyntaxError


class FrontMatter(BaseModel):
    """The front matter of a prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    purpose: str = Field(min_length=1, description="What the prompt is for.")
    variables: dict[str, str] = Field(default_factory=dict, description="Variable name to description.")
    tool: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$", description="Name of the tool the model answers through.")
    version: str = Field("1", description="The author's version of the prompt.")
    system: str = Field("", description="System message; may use the variables.")


class Prompt(NamedTuple):
    """A rendered prompt. `name` is `domain/name`; `hash`: first 16 hex digits of sha256(system + text)."""

    name: str
    system: str
    text: str
    tool: str
    hash: str


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt that was read and checked."""

    name: str
    source: str
    """The prompt's own file, for messages."""
    head: FrontMatter
    lines: tuple[Line, ...]
    system_source: str
    """The file with the system message."""

    @property
    def body(self) -> str:
        """The template of the user message."""
        return "".join(line.text for line in self.lines)

    def render(self, **variables: Any) -> Prompt:
        """Fill in `variables`; those that the file does not use are ignored.

        Raises:
            TeacherError: a variable that the file uses is missing, or the template fails; the text names the
                file, the variable and the nearest given name.
        """
        system, text = (self._fill(part, variables) for part in (self.head.system, self.body))
        digest = hashlib.sha256((system + text).encode()).hexdigest()[:16]
        return Prompt(self.name, system, text, self.head.tool, digest)

    def used(self) -> frozenset[str]:
        """Return the variables that the text or the system message uses."""
        return _used(self.head.system) | _used(self.body)

    def check(self) -> None:
        """Compile the templates.

        Raises:
            TeacherError: a template does not compile or uses a variable that the front matter does not declare.
        """
        from jinja2 import TemplateSyntaxError

        for part in (self.head.system, self.body):
            try:
                _compile(part)
            except TemplateSyntaxError as error:
                raise TeacherError(f"prompt file {self._mistake(part, error)}") from error
            for variable in sorted(_used(part) - set(self.head.variables)):
                raise TeacherError(
                    f"prompt file {self._place(part, _line_with(part, variable))} uses the variable {variable!r}, "
                    f"which its front matter does not declare.{hint(variable, self.head.variables)} "
                    f"Declared: {', '.join(sorted(self.head.variables)) or 'none'}."
                )

    def _fill(self, part: str, variables: dict[str, Any]) -> str:
        from jinja2 import UndefinedError

        template = _compile(part)
        try:
            return template.render(variables).strip()
        except UndefinedError as error:
            absent = sorted(_used(part) - set(variables))
            raise TeacherError(
                f"prompt file {self._place(part, _line_of(error))}: {error.message}."
                + "".join(hint(name, variables) for name in absent)
                + f" Given: {', '.join(sorted(variables)) or 'nothing'}."
            ) from error
        except Exception as error:  # the template is the user's program, so report any error in it
            place = self._place(part, _line_of(error))
            raise TeacherError(f"prompt file {place}: {type(error).__name__}: {error}") from error

    def _mistake(self, part: str, error: "TemplateSyntaxError") -> str:
        """Return the place of a mistake and its description.

        Jinja notices a tag left open in a domain's block only at the end of the whole, in another file. Therefore
        each run of lines from the prompt's own file is also compiled alone.
        """
        from jinja2 import TemplateSyntaxError

        runs = [list(run) for file, run in groupby(self.lines, key=lambda line: line.file) if file == self.source]
        for run in runs if part == self.body else []:
            try:
                _compile("".join(line.text for line in run))
            except TemplateSyntaxError as inner:
                return f"{run[min(inner.lineno, len(run)) - 1].place()}: {inner.message}"
        return f"{self._place(part, error.lineno)}: {error.message}"

    def _place(self, part: str, line: int | None) -> str:
        """Return the file and line number of a line of `part`; only the file if the line is unknown."""
        if part != self.body:
            return f"{self.system_source}, system message"
        if line is None or not self.lines:
            return self.source
        return self.lines[min(line, len(self.lines)) - 1].place()


def load_prompt(domain: str, name: str, overlay: Path | None = None) -> PromptTemplate:
    """Load the prompt `<domain>/<name>`, from `overlay` if it is there, else from the package.

    Raises:
        UnknownNameError: no such domain or prompt; the text names the nearest.
        TeacherError: the overlay folder is missing, the front matter is wrong, the template does not compile,
            or it uses a variable that its front matter does not declare.
    """
    whole = whole_prompt(domain, name, overlay)
    head = _front_matter(whole.head, whole.source)
    template = PromptTemplate(f"{domain}/{name}", whole.source, head, whole.lines, whole.system_source)
    template.check()
    return template


def _front_matter(keys: dict[str, Any], source: str) -> FrontMatter:
    try:
        return FrontMatter.model_validate(keys)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        near = hint(key, FrontMatter.model_fields) if first["type"] == "extra_forbidden" else ""
        raise TeacherError(
            f"prompt file {source}: front matter key {key!r}: {first['msg']}.{near} "
            f"Keys: {', '.join(FrontMatter.model_fields)}."
        ) from error


# The next two take some 20 ms per prompt, and each call needs them.
@lru_cache(maxsize=256)
def _compile(part: str) -> "Template":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,  # plain text for a model, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(part)


@lru_cache(maxsize=256)
def _used(part: str) -> frozenset[str]:
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Globals such as `range` are available in every template and need no declaration.
    environment = ImmutableSandboxedEnvironment()
    return frozenset(meta.find_undeclared_variables(environment.parse(part)) - set(environment.globals))


def _line_with(part: str, variable: str) -> int | None:
    """Return the line that first uses a variable; None if a loop or a macro defines the same name."""
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    names = ImmutableSandboxedEnvironment().parse(part).find_all(nodes.Name)
    uses = [name for name in names if name.name == variable]
    return min(use.lineno for use in uses) if all(use.ctx == "load" for use in uses) else None


def _line_of(error: Exception) -> int | None:
    """Return the line of the template that failed during rendering."""
    lines = [step.lineno for step in traceback.extract_tb(error.__traceback__) if step.filename == "<template>"]
    return lines[-1] if lines else None


def hint(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" with the nearest known name; "" if none is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""
