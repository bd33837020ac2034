"""Scorers: whether an answer to an item is right. A task has its domain's own; `task.scorer` names another.

A scorer is a function `(item, answer) -> bool`, registered by a name:

    @scorer("last_word", "the answer ends with the gold answer's last word")
    def last_word(item: Item, answer: str) -> bool:
        return answer.split()[-1:] == item.answer.split()[-1:]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from dataenvgym.envs.registry import Registry
from dataenvgym.envs.types import Instance, Row

Score = Callable[[Instance | Row, str], bool]


@dataclass(frozen=True)
class Scorer:
    """A registry entry. `score`: (item, answer as read from the student's text) -> whether it is right."""

    name: str
    summary: str
    score: Score


def _fill() -> None:
    # By name, since domains bring scorers along and tasks, which may name one, must not depend on domains.
    list(import_module("dataenvgym.envs.domains.base").DOMAINS)
    scorer("exact", "the gold answer word for word; only runs of blanks are the same as one")(_is_same_text)


SCORERS: Registry[Scorer] = Registry("scorer", "dataenvgym.scorers", _fill)


def scorer(name: str, summary: str) -> Callable[[Score], Score]:
    """Register a function as the scorer of that name. `summary`: what `dataenvgym list scorers` says of it."""

    def add(score: Score) -> Score:
        SCORERS[name] = Scorer(name, summary, score)
        return score

    return add


def _is_same_text(item: Instance | Row, answer: str) -> bool:
    return item.answer.split() == answer.split()
