"""Prompt templates: Jinja files, found and put together by `prompt_files`.

A file starts with YAML front matter between `---` lines:

    ---
    purpose: Write new training rows for one skill.
    variables: {skill: the skill's name, count: how many rows}
    tool: submit_rows
    version: 1
    system: You are a careful teacher.
    ---
    Write {{ count }} questions on {{ skill }}.

Files are read at each use, so an edit takes effect while a server runs; what is made of a text is kept.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataenvgym.agents.prompt_files import whole_prompt
from dataenvgym.envs.errors import TeacherError

if TYPE_CHECKING:
    from jinja2 import Template


class FrontMatter(BaseModel):
    """The head of a prompt file."""

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
    """A prompt file that was read and checked."""

    name: str
    source: str
    """The file it came from, for messages."""
    head: FrontMatter
    body: str

    def render(self, **variables: Any) -> Prompt:
        """The prompt with `variables` filled in; variables that the file does not use are ignored.

        Raises:
            TeacherError: a variable that the file uses is not given, or the template fails; the text names
                the file, the variable and the nearest name that is given.
        """
        system, text = (self._fill(part, variables) for part in (self.head.system, self.body))
        digest = hashlib.sha256((system + text).encode()).hexdigest()[:16]
        return Prompt(self.name, system, text, self.head.tool, digest)

    def used(self) -> frozenset[str]:
        """The variables that the text or the system message uses."""
        return _used(self.head.system) | _used(self.body)

    def _fill(self, part: str, variables: dict[str, Any]) -> str:
        from jinja2 import UndefinedError

        try:
            return _compile(part, self.source).render(variables).strip()
        except UndefinedError as error:
            absent = sorted(_used(part) - set(variables))
            raise TeacherError(
                f"prompt file {self.source}: {error.message}."
                + "".join(hint(name, variables) for name in absent)
                + f" Given: {', '.join(sorted(variables)) or 'nothing'}."
            ) from error
        except TeacherError:
            raise
        except Exception as error:  # the template is the user's program: any error in it is theirs to mend
            raise TeacherError(f"prompt file {self.source}: {type(error).__name__}: {error}") from error


def load_prompt(domain: str, name: str, overlay: Path | None = None) -> PromptTemplate:
    """The prompt `<domain>/<name>`, from `overlay` if it stands there, else from the package.

    Raises:
        UnknownNameError: no such domain or prompt; the text names the nearest.
        TeacherError: the overlay folder is absent, the front matter is wrong, the template does not compile,
            or it uses a variable that its front matter does not declare.
    """
    keys, body, source = whole_prompt(domain, name, overlay)
    head = _front_matter(keys, source)
    template = PromptTemplate(f"{domain}/{name}", source, head, body)
    for part in (head.system, template.body):
        _compile(part, source)
        for variable in sorted(_used(part) - set(head.variables)):
            raise TeacherError(
                f"prompt file {source} uses the variable {variable!r}, "
                f"which its front matter does not declare.{hint(variable, head.variables)} "
                f"Declared: {', '.join(sorted(head.variables)) or 'none'}."
            )
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


# These two take some 20 ms for a prompt, which each call would pay again.
@lru_cache(maxsize=256)
def _compile(part: str, source: str) -> "Template":
    from jinja2 import StrictUndefined, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,  # plain text for a model, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.from_string(part)
    except TemplateSyntaxError as error:
        raise TeacherError(f"prompt file {source}: template line {error.lineno}: {error.message}") from error


@lru_cache(maxsize=256)
def _used(part: str) -> frozenset[str]:
    from jinja2 import meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # Globals such as `range` are in every template's reach and need no declaration.
    environment = ImmutableSandboxedEnvironment()
    return frozenset(meta.find_undeclared_variables(environment.parse(part)) - set(environment.globals))


def hint(name: str, known: Iterable[str]) -> str:
    """The words " Did you mean 'x'?" with the nearest known name; empty when none is near."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f" Did you mean {near[0]!r}?" if near else ""
