"""`contamination`: no row contains a val or test question, whole or in a long enough part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dataenvgym.agents.checks.base import CheckContext, failed, passed
from dataenvgym.agents.checks.registry import check
from dataenvgym.agents.checks.words import grams, normalised, words
from dataenvgym.envs.types import Instance, Row, Verdict


@check("contamination", "free", "no val or test question stands in it")
def check_contamination(row: Row, context: CheckContext) -> Verdict:
    """Check that the row contains no val or test question, whole or in a long enough part."""
    match = context.held_out.match(row.question)
    if match is not None:
        return failed("contamination", f"shares {match[1]!r} with {match[0]}")
    return passed("contamination")


class HeldOut:
    """An index of the val and test questions: whole, by identity, and by runs of `overlap` words.

    `identity`: see `Domain`.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        overlap: int,
        identity: Callable[[str], str | None] | None = None,
    ) -> None:
        self._overlap = overlap
        self._identity = identity or (lambda _: None)
        self._whole: dict[str, str] = {}
        self._asked: dict[str, str] = {}
        self._items: list[_HeldOutQuestion] = []
        self._grams: dict[tuple[str, ...], list[int]] = {}
        for index, item in enumerate(instances):
            tokens, asks = words(item.question), self._identity(item.question)
            self._items.append(_HeldOutQuestion(item.id, asks, _measure(tokens)))
            self._whole.setdefault(normalised(item.question), item.id)
            if asks is not None:
                self._asked.setdefault(asks, item.id)
            for gram in dict.fromkeys(grams(tokens, overlap)):
                self._grams.setdefault(gram, []).append(index)

    def match(self, question: str) -> tuple[str, str] | None:
        """Find a held-out instance that the question repeats; return (instance id, matching text), or None.

        Two questions with known identities match if the identities are equal. Otherwise shared runs of words count
        if they contain every number of one of the two questions, because the fixed part of a form ("what is the
        sum of") is not a problem by itself. For a question without numbers they must contain half of its words.
        """
        asks = self._identity(question)
        whole = self._whole.get(normalised(question)) or (None if asks is None else self._asked.get(asks))
        if whole is not None:
            return whole, question
        tokens = words(question)
        places: dict[int, set[int]] = {}
        for start, gram in enumerate(grams(tokens, self._overlap)):
            for index in self._grams.get(gram, ()):
                places.setdefault(index, set()).update(range(start, start + self._overlap))
        ours = _measure(tokens)
        for index, found in places.items():
            held = self._items[index]
            if asks is not None and held.asks is not None:
                continue  # another problem in the same form
            shared = [tokens[i] for i in sorted(found)]
            part = _measure(shared)
            if _covers(part, ours) or _covers(part, held.measure):
                return held.id, " ".join(shared)
        return None


class _QuestionStats(NamedTuple):
    """The numbers and the count of words of a question or a part of one."""

    numbers: Counter[str]
    size: int


class _HeldOutQuestion(NamedTuple):
    """A held-out question."""

    id: str
    asks: str | None
    measure: _QuestionStats


def _measure(tokens: Sequence[str]) -> _QuestionStats:
    return _QuestionStats(Counter(_numbers(tokens)), len(tokens))


def _covers(part: _QuestionStats, whole: _QuestionStats) -> bool:
    """Tell whether the part contains every number of the question, or half of its words if it has no numbers."""
    return whole.numbers <= part.numbers if whole.numbers else 2 * part.size >= whole.size


def _numbers(tokens: Sequence[str]) -> list[str]:
    return [t for t in tokens if t[0].isdigit()]
