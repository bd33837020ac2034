"""What differs between domains, as data: how to ask, how to read and judge an answer, what a row looks like.

A `Curriculum` is what the scripted chat model needs to know of a domain's embedded task to teach it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel

from dataenvgym.envs.registry import Registry
from dataenvgym.envs.scorers import Scorer
from dataenvgym.envs.types import Example, Instance, Progress, Row

Item = Instance | Row
LONGEST_DETAIL = 400
"""Characters of why an answer is wrong: prompts show it, and it may hold all that a program printed."""


_NONE: Mapping[str, float] = MappingProxyType({})


class Mark(NamedTuple):
    """Whether an answer is right and, where running it has shown why not, the reason.

    `scores`: partial scores, 0 to 1, of those that `Domain.scores` names. One that does not apply is left out.
    """

    correct: bool
    detail: str = ""
    scores: Mapping[str, float] = _NONE


class Scored(NamedTuple):
    """What was read from a student's text (None: no answer in it) and how it was marked."""

    answer: str | None
    correct: bool
    detail: str = ""
    scores: Mapping[str, float] = _NONE
    """As in `Mark`; all 0 where there is no answer."""


@dataclass(frozen=True)
class Domain:
    """A domain. The same `prompt` is used before and after training and in every training row."""

    name: str
    instruction: str
    """What an answer must look like; the teacher's model is told it too."""
    render_answer: Callable[[str, str], str]
    """(worked solution, answer) -> the completion a student is trained to write."""
    extract: Callable[[str], str | None]
    """Student text -> answer, or None when there is none."""
    equal: Callable[[str, str], bool]
    """(gold answer, other answer) -> whether they say the same; no program is run for it."""
    row_model: type[BaseModel]
    """The fields the teacher's model fills in for one row: at least question, solution, answer."""
    form: Callable[[Item], str] | None = None
    """The user message for an instance or a row; None: the instruction, then the question."""
    mark: Callable[[Sequence[Item], Sequence[str], Progress | None], list[Mark]] | None = None
    """Whether answers to items are right, all at once, where running them decides; None: `equal` does."""
    vet: Callable[[Sequence[Row], Progress | None], list[str]] | None = None
    """What is wrong with rows, found by running them ("" for nothing); None: there is nothing to run."""
    identity: Callable[[str], str | None] | None = None
    """Question -> what it asks for, equal for two that ask the same in other words; None where it cannot tell."""
    show: Callable[[Item], dict[str, Any]] = lambda item: {}
    """What prompts show of an item beside question, solution and answer, by the names the prompts use."""
    show_unsolved: Callable[[Item], dict[str, Any]] = lambda item: {}
    """The same for a model that is to solve it: nothing that gives the answer away."""
    scores: tuple[str, ...] = ()
    """The names of the partial scores that marks have beside right or wrong, in the order of tables."""
    clean_answer: Callable[[str], str] = lambda answer: answer
    """A model's answer to a problem as it is kept, e.g. without a fence around code."""

    def scored_by(self, scorer: Scorer) -> Domain:
        """The same domain with another way to tell whether an answer is right. Nothing is run for it.

        An answer on which the scorer fails is wrong, with the failure as the reason.
        """

        def judge(item: Item, answer: str) -> Mark:
            try:
                return Mark(bool(scorer.score(item, answer)))
            except Exception as error:  # a user's function, on a model's text
                return Mark(
                    False, f"scorer {scorer.name!r} failed: {type(error).__name__}: {error}"[:LONGEST_DETAIL]
                )

        return replace(
            self,
            scores=(),
            equal=lambda gold, other: judge(Instance(id="", question="", answer=gold), other).correct,
            mark=lambda items, answers, _: [judge(*pair) for pair in zip(items, answers, strict=True)],
        )

    def prompt(self, item: Item) -> str:
        """The user message for an instance or a row."""
        return f"{self.instruction}\n{item.question}" if self.form is None else self.form(item)

    def example(self, row: Item) -> Example:
        """The training example of a row."""
        return Example(self.prompt(row), self.render_answer(row.solution, row.answer))

    def read_back(self, gold: str, text: str) -> tuple[str | None, bool]:
        """(the answer in a text, whether it says the same as the gold answer), without running anything."""
        answer = self.extract(text)
        return answer, answer is not None and self.equal(gold, answer)

    def marks(self, items: Sequence[Item], answers: Sequence[str], progress: Progress | None = None) -> list[Mark]:
        """Whether each answer to each item is right. `progress` hears of it where answers are run."""
        if self.mark is not None:
            return self.mark(items, answers, progress)
        return [Mark(self.equal(item.answer, answer)) for item, answer in zip(items, answers, strict=True)]

    def score(self, items: Sequence[Item], texts: Sequence[str], progress: Progress | None = None) -> list[Scored]:
        """What a student's texts say to items, and whether it is right. `progress` as for `marks`."""
        answers = [self.extract(text) for text in texts]
        found = [(item, answer) for item, answer in zip(items, answers, strict=True) if answer is not None]
        marks = iter(self.marks([item for item, _ in found], [answer for _, answer in found], progress))
        why = "no answer in the text" if self.mark is not None else ""
        nothing = Scored(None, False, why, dict.fromkeys(self.scores, 0.0))
        return [Scored(answer, *next(marks)) if answer is not None else nothing for answer in answers]


@dataclass(frozen=True)
class DomainSpec:
    """A registry entry: what is known of a domain before any of its tasks is loaded.

    `package`: where its folder is; its `curriculum.py` and its `prompts/`, if it has them, are found there.
    """

    name: str
    summary: str
    package: str
    row_model: type[BaseModel]
    """As in `Domain`."""
    instruction: str
    """As in `Domain`."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """What `Domain.show` gives of some item, as a sample with which prompts are checked."""
    shown_unsolved: Mapping[str, Any] = field(default_factory=dict)
    """What `Domain.show_unsolved` gives of the same."""

    def curriculum(self) -> Curriculum | None:
        """What the scripted model teaches, where the domain says it."""
        if find_spec(f"{self.package}.curriculum") is None:
            return None
        found: Curriculum = import_module(f"{self.package}.curriculum").CURRICULUM
        return found

    def prompts(self) -> Path | None:
        """The folder of prompts that the domain brings along, if it does."""
        folder = Path(str(import_module(self.package).__file__)).parent / "prompts"
        return folder if folder.is_dir() else None


def _fill() -> None:
    import_module("dataenvgym.envs.domains").find_all()


DOMAINS: Registry[DomainSpec] = Registry("domain", "dataenvgym.domains", _fill)

Fields = dict[str, Any]
"""One item of a chat model's reply, e.g. a row, by the names of its fields."""


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
    draw: Callable[[str, int, int, str | None], tuple[str, Callable[[], Fields]]]
    """(skill, seed, index, variant or None) -> a question, and how the whole row is made where it is wanted."""
    solve: Callable[[str], str | None]
    """Question -> an answer to it, worked out from its text; None for any other text."""
    wrong: Callable[[str, str, Random], str]
    """(question, right answer, rng) -> a wrong answer."""
    copy: Callable[[str, str], Fields]
    """(question, answer as shown) -> the row that copies it."""
    vary: Callable[[str, str, int], Fields] | None = None
    """(question, answer, number) -> a row that varies a train problem which is shown; None: `draw` makes all."""
