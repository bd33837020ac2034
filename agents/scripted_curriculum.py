"""What the scripted chat model needs to know of a task to teach it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

Item = dict[str, Any]
"""One item of a reply, e.g. a row."""


class Skill(Protocol):
    """A skill of procedural generators."""

    @property
    def summary(self) -> str:
        """What it is about, in a few words."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of its sub-kinds."""
        ...


@dataclass(frozen=True)
class Curriculum:
    """The generators of a task, and what can be told from the text of its questions alone."""

    skills: Mapping[str, Skill]
    recognise: Callable[[str], str | None]
    """Question -> the skill that asks it; None for any other text."""
    identity: Callable[[str], str]
    """Question -> what it shares with the questions that ask the same."""
    draw: Callable[[str, int, int, str | None], tuple[str, Callable[[], Item]]]
    """(skill, seed, index, variant or None) -> a question, and how the whole row is made where it is wanted."""
    solve: Callable[[str], str | None]
    """Question -> an answer to it, worked out from its text; None for any other text."""
    wrong: Callable[[str, str, Random], str]
    """(question, right answer, rng) -> a wrong answer."""
    copy: Callable[[str, str], Item]
    """(question, answer as shown) -> the row that copies it."""
