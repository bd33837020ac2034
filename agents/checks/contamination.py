"""`contamination`: no val or test question stands in a row, whole or in a long enough part.

Two rules. The strict one rejects: a whole held-out question in any text of the row, the same problem in other
words where the task can tell, and a shared run of words that holds all numbers of one of the two. The usual
n-gram rule (Brown et al. 2020, arXiv 2005.14165, appendix C, with 13 words) also finds a question with one
number changed; it marks or rejects, as `overlap_action` says. Procedural tasks have fixed sentences, in which
other numbers are other problems, so it leaves them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dataenvgym.agents.checks.base import CheckContext, failed, passed
from dataenvgym.agents.checks.registry import check
from dataenvgym.agents.checks.words import grams, normalised, words
from dataenvgym.envs.text import texts_in
from dataenvgym.envs.types import Instance, Row, Verdict

SHORTEST = 5
"""A held-out question of so many words and signs, or more, is looked for inside other words."""
_OPERATORS = frozenset("+-*/^=<>%×÷·−")


@check("contamination", "free", "no val or test question stands in it")
def check_contamination(row: Row, context: CheckContext) -> Verdict:
    """No val or test question, whole or in a long enough part, stands in any text of the row.

    A row that only shares `overlap` words in a row with such a question is marked (`extra["overlap"]`, the
    reason); with `overlap_action: drop` it fails.
    """
    texts = [(name, text) for name, text in texts_of(row) if text.strip()]
    for name, text in texts:
        match = context.held_out.match(text, question=name == "question")
        if match is not None:
            return failed("contamination", _reason(name, match))
    for name, text in texts:
        match = context.held_out.overlapping(text)
        if match is not None and context.config.overlap_action == "drop":
            return failed("contamination", _reason(name, match))
        if match is not None:
            reason = _reason(name, match)
            return Verdict(check="contamination", passed=True, reason=reason, marks={"overlap": reason})
    return passed("contamination")


def texts_of(row: Row) -> Iterator[tuple[str, str]]:
    """(name, text) of every text of a row: question, solution, answer, and all in its `extra`."""
    yield from (("question", row.question), ("solution", row.solution), ("answer", row.answer))
    for name, value in row.extra.items():
        yield from ((name, text) for text in texts_in(value))


def _reason(name: str, match: tuple[str, str]) -> str:
    where = "" if name == "question" else f"{name} "
    return f"{where}shares {match[1]!r} with {match[0]}"


class HeldOut:
    """The val and test questions, indexed for contamination: whole, by what they ask, by runs of `overlap` words.

    `identity`: see `Domain`; where there is one, the task is procedural.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        overlap: int,
        identity: Callable[[str], str | None] | None = None,
    ) -> None:
        self._overlap = overlap
        self._procedural = identity is not None
        self._identity = identity or (lambda _: None)
        self._whole: dict[str, str] = {}
        self._asked: dict[str, str] = {}
        self._items: list[_HeldOutQuestion] = []
        self._grams: dict[tuple[str, ...], list[int]] = {}
        self._plain: dict[tuple[str, ...], list[int]] = {}
        self._short: dict[tuple[str, ...], list[int]] = {}
        for index, item in enumerate(instances):
            tokens, asks = words(item.question), self._identity(item.question)
            whole = normalised(item.question)
            held = _HeldOutQuestion(item.id, asks, _measure(tokens), tuple(whole.split()))
            self._items.append(held)
            self._whole.setdefault(whole, item.id)
            if asks is not None:
                self._asked.setdefault(asks, item.id)
            for gram in dict.fromkeys(grams(tokens, overlap)):
                self._grams.setdefault(gram, []).append(index)
            if len(held.whole) >= SHORTEST and len(tokens) <= overlap:
                self._short.setdefault(held.whole[:SHORTEST], []).append(index)
            if not self._procedural:
                for gram in dict.fromkeys(grams(_plain(tokens), overlap)):
                    self._plain.setdefault(gram, []).append(index)

    def match(self, text: str, question: bool = True) -> tuple[str, str] | None:
        """(id of the held-out instance, the matching text) by the strict rule, or None.

        Two questions of which it can be told what they ask are the same when they ask the same. Else a whole
        question inside other words counts, from `SHORTEST` words on, and shared runs of words count when they
        hold every number of the one text or of the other: the fixed part of a form ("what is the sum of") is
        no problem by itself. Of a text without numbers they must hold half of its words.

        Args:
            text: a question, or another text of a row.
            question: whether it is a question.
        """
        asks = self._identity(text) if question else None
        whole = self._whole.get(normalised(text)) if question else None
        whole = whole or (None if asks is None else self._asked.get(asks))
        if whole is not None:
            return whole, text
        tokens = words(text)
        ours = _measure(tokens)
        contained = self._contained(tokens)
        for index, found in [*contained, *_places(tokens, self._grams, self._overlap)]:
            held = self._items[index]
            if asks is not None and held.asks is not None:
                continue  # another problem in the same form
            shared = [tokens[i] for i in sorted(found)]
            part = _measure(shared)
            if (index, found) in contained or _covers(part, ours) or _covers(part, held.measure):
                return held.id, " ".join(shared)
        return None

    def overlapping(self, text: str) -> tuple[str, str] | None:
        """(id, the words) of the held-out question with which a text shares most, from `overlap` words on.

        The usual n-gram rule: words and numbers alone, without signs. None for a procedural task.
        """
        tokens = _plain(words(text))
        places = _places(tokens, self._plain, self._overlap)
        if not places:
            return None
        index, found = max(places, key=lambda place: (len(place[1]), -place[0]))
        return self._items[index].id, " ".join(tokens[i] for i in sorted(found))

    def _contained(self, tokens: Sequence[str]) -> list[tuple[int, set[int]]]:
        """(index, places) of the short questions that stand whole in a text.

        "What is 4 + 5" is not in "What is 4 + 5 + 6", which goes on with an operator, or in "What is 4 + 5.5".
        """
        found: list[tuple[int, set[int]]] = []
        for start, gram in enumerate(grams(tokens, SHORTEST)):
            for index in self._short.get(gram, ()):
                held = self._items[index].whole
                end = start + len(held)
                if tuple(tokens[start:end]) == held and not _goes_on(tokens, start, end):
                    found.append((index, set(range(start, end))))
        return found


def _goes_on(tokens: Sequence[str], start: int, end: int) -> bool:
    """Whether the formula at the edge of a run is longer than the run."""
    before, after = tokens[start - 1] if start else "", tokens[end] if end < len(tokens) else ""
    decimal = after in (".", ",") and end + 1 < len(tokens) and tokens[end + 1].isdigit()
    return after in _OPERATORS or (tokens[start][0].isdigit() and before in _OPERATORS) or decimal


def _places(
    tokens: Sequence[str], index: dict[tuple[str, ...], list[int]], size: int
) -> list[tuple[int, set[int]]]:
    """Per held-out question that shares runs of `size` words: its number, and where in the text they are."""
    places: dict[int, set[int]] = {}
    for start, gram in enumerate(grams(tokens, size)):
        for held in index.get(gram, ()):
            places.setdefault(held, set()).update(range(start, start + size))
    return list(places.items())


def _plain(tokens: Sequence[str]) -> list[str]:
    return [token for token in tokens if token[0].isalnum()]


class _QuestionStats(NamedTuple):
    """Of a question or a part of one: its numbers, and how many words it has, signs aside."""

    numbers: Counter[str]
    size: int


class _HeldOutQuestion(NamedTuple):
    """A held-out question. `whole`: its words without closing punctuation."""

    id: str
    asks: str | None
    measure: _QuestionStats
    whole: tuple[str, ...]


def _measure(tokens: Sequence[str]) -> _QuestionStats:
    return _QuestionStats(Counter(_numbers(tokens)), len(_plain(tokens)))


def _covers(part: _QuestionStats, whole: _QuestionStats) -> bool:
    """Whether the part holds what makes a question this one."""
    return whole.numbers <= part.numbers if whole.numbers else 2 * part.size >= whole.size


def _numbers(tokens: Sequence[str]) -> list[str]:
    return [t for t in tokens if t[0].isdigit()]
