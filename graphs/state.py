"""The graphs' state: plain JSON values and references to files of the run, never rows or live objects."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypeVar

from pydantic import Field
from typing_extensions import TypedDict

from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.types import Ref

T = TypeVar("T")


class Step(TypedDict):
    """One finished iteration; number 0 is the evaluation of the base."""

    iteration: int
    student: str | None
    predictions: Ref
    accuracy: float
    n: int
    rows: int
    plan: Ref | None
    accepted: Ref | None
    rejected: Ref | None
    stopped: NotRequired[str | None]
    """The cap for whose sake rows of this iteration are missing."""


class EpisodeState(TypedDict, total=False):
    """State of the episode graph. `steps` grows; every other value is replaced.

    `notices`: what is to be known of this episode in words, e.g. the defaults that it takes.
    """

    run_dir: str
    notices: list[str]
    iteration: int
    observation: Ref
    earlier: list[Ref]
    plan: Ref
    accepted: Ref
    rejected: Ref
    stopped: str | None
    student: str | None
    steps: Annotated[list[Step], operator.add]
    stop_reason: str | None
    summary: str


class EpisodeInput(TypedDict, total=False):
    """Input of an episode: nothing, or the run folder to write into."""

    run_dir: Annotated[str, Field(description="Folder to write into; empty: runs/studio/<thread>.")]


class TeacherInput(TypedDict):
    """Input of a teacher: an observation and the rows of earlier iterations, as files of the run.

    `student`: the key of the student that the rows are for; None or absent: the base.
    """

    run_dir: str
    iteration: int
    observation: Ref
    earlier: list[Ref]
    student: NotRequired[str | None]


class TeacherOutput(TypedDict, total=False):
    """Output of a teacher: its plan, the rows to train on, and the rejected rows.

    `stopped`: the cap that kept it from asking for all rows; None or absent: none did.
    """

    plan: Ref
    accepted: Ref
    rejected: Ref
    stopped: str | None


class TeacherState(TypedDict, total=False):
    """State inside a teacher. `round` counts generations: 0, then one per refill; `missing`: rows to generate.

    `stopped`: the cap on calls, tokens or cost that is used up; the teacher makes no further calls then.
    """

    run_dir: str
    iteration: int
    observation: Ref
    earlier: list[Ref]
    student: str | None
    feedback: Ref
    plan: Ref
    round: int
    missing: int
    stopped: str | None
    generated: Ref
    accepted: Ref
    rejected: Ref


def given(state: Mapping[str, Any], key: str, kind: type[T], expected: str) -> T | None:
    """Return an input of a graph; None where it is absent or empty. Servers check no types of inputs.

    Raises:
        ConfigError: it is not of that kind; `expected` says what it should be.
    """
    value = state.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ConfigError(f"{key}: expected {expected}, got {value!r:.100}")
    return value
