"""What a task is: three splits of instances and the domain that asks and scores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataenvgym.envs.config import ANSWER_TOKENS, ROW_TOKENS, TaskConfig
from dataenvgym.envs.types import Instance

if TYPE_CHECKING:
    from dataenvgym.envs.domains.base import Domain


@dataclass(frozen=True)
class Task:
    """A benchmark. `train` is the exemplar pool; `val` gives feedback; `test` is private to the environment."""

    name: str
    domain: Domain
    train: tuple[Instance, ...]
    val: tuple[Instance, ...]
    test: tuple[Instance, ...]


@dataclass(frozen=True)
class TaskSpec:
    """A registry entry: what `dataenvgym list tasks` shows, and how the task is loaded."""

    name: str
    domain: str
    summary: str
    load: Callable[[TaskConfig], Task]
    gold_skills: bool
    embedded: bool
    """True when it needs no download."""
    answer_tokens: int = ANSWER_TOKENS
    """Longest answer of a student, in tokens, where the config does not say."""
    row_tokens: int = ROW_TOKENS
    """Longest training row, in tokens, where the config does not say."""
