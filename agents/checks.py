"""The named checks that a generated row must pass. Each gives a verdict with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataenvgym.agents.config import CheckConfig
from dataenvgym.envs.domain import Domain
from dataenvgym.envs.types import Instance, Row, Verdict

LONGEST = 8_000  # characters of question and solution together; longer rows would be cut in training
PERMUTATIONS = 128
CANDIDATES = 0.8  # share of the asked similarity from which MinHash proposes a pair
_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class CheckContext:
    """What checks compare with. `seen` grows with each row that passed."""

    domain: Domain
    config: CheckConfig
    held_out: HeldOut
    seen: SeenRows


Check = Callable[[Row, CheckContext], Verdict]


def check_format(row: Row, context: CheckContext) -> Verdict:
    """Question and answer are there and the row is not overlong."""
    if not row.question.strip() or not row.answer.strip():
        return _failed("format", "the question or the answer is empty")
    size = len(row.question) + len(row.solution)
    if size > LONGEST:
        return _failed("format", f"{size} characters, more than {LONGEST}")
    return _passed("format")


def check_answer(row: Row, context: CheckContext) -> Verdict:
    """The text that the student would learn to write passes the task's own scorer.

    It rejects an answer that cannot be read back; a wrong one that reads well passes, since it is its own gold.
    """
    text = context.domain.example(row).completion
    found, correct = context.domain.score(row.answer, text)
    if not correct:
        return _failed("answer", f"the scorer reads {found!r} from the completion, not {row.answer!r}")
    return _passed("answer")


def check_duplicate(row: Row, context: CheckContext) -> Verdict:
    """Not a question that stands among the accepted rows, exactly or nearly (MinHash over word 3-grams).

    Near-duplicates must also have the same numbers: "47 + 85" and "47 + 58" are two problems of one form.
    """
    twin = context.seen.twin(row.question)
    if twin is not None:
        return _failed("duplicate", f"same as {twin[0]}: {twin[1]!r}")
    return _passed("duplicate")


def check_contamination(row: Row, context: CheckContext) -> Verdict:
    """No val or test question, whole or in a long enough part, stands in the row."""
    match = context.held_out.match(row.question)
    if match is not None:
        return _failed("contamination", f"shares {match[1]!r} with {match[0]}")
    return _passed("contamination")


CHECKS: dict[str, Check] = {
    "format": check_format,
    "answer": check_answer,
    "duplicate": check_duplicate,
    "contamination": check_contamination,
}


def words(text: str) -> list[str]:
    """Case-folded words, numbers and signs of a text."""
    return _WORD.findall(text.casefold())


def normalised(text: str) -> str:
    """A text without case, spacing and closing punctuation, for exact comparison."""
    return " ".join(words(text)).rstrip(" .?!")


class HeldOut:
    """The val and test questions, indexed for contamination: whole, and by runs of `overlap` words."""

    def __init__(self, instances: Sequence[Instance], overlap: int) -> None:
        self._overlap = overlap
        self._whole: dict[str, str] = {}
        self._items = [(item.id, Counter(_numbers(words(item.question)))) for item in instances]
        self._grams: dict[tuple[str, ...], list[int]] = {}
        for index, item in enumerate(instances):
            self._whole.setdefault(normalised(item.question), item.id)
            for gram in dict.fromkeys(_grams(words(item.question), overlap)):
                self._grams.setdefault(gram, []).append(index)

    def match(self, question: str) -> tuple[str, str] | None:
        """(id of the held-out instance, the matching text), or None.

        Shared runs of words count only when they hold every number of the one question or of the other: the
        fixed part of a form ("what is the sum of") is no problem by itself.
        """
        whole = self._whole.get(normalised(question))
        if whole is not None:
            return whole, question
        tokens = words(question)
        places: dict[int, set[int]] = {}
        for start, gram in enumerate(_grams(tokens, self._overlap)):
            for index in self._grams.get(gram, ()):
                places.setdefault(index, set()).update(range(start, start + self._overlap))
        for index, found in places.items():
            name, theirs = self._items[index]
            shared = [tokens[i] for i in sorted(found)]
            numbers = Counter(_numbers(shared))
            if numbers == Counter(_numbers(tokens)) or theirs <= numbers:
                return name, " ".join(shared)
        return None


def _grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]


def _numbers(tokens: Sequence[str]) -> list[str]:
    return [t for t in tokens if t[0].isdigit()]


@dataclass
class SeenRows:
    """The accepted questions so far, exact and by word 3-grams; MinHash (datasketch) finds the candidates."""

    similarity: float
    _exact: dict[str, str] = field(default_factory=dict)
    _text: dict[str, str] = field(default_factory=dict)
    _runs: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    _index: Any = None

    def add(self, name: str, question: str) -> None:
        """Take a row's question into the index."""
        if name not in self._text:
            self._runs[name] = _runs(question)
            self._candidates().insert(name, _signature(self._runs[name]))
        self._exact[normalised(question)] = name
        self._text[name] = question

    def twin(self, question: str) -> tuple[str, str] | None:
        """(row id, its question) of an accepted question that is the same or nearly so, or None."""
        name = self._exact.get(normalised(question))
        if name is None:
            runs, numbers = _runs(question), sorted(_NUMBER.findall(question))
            close = sorted(self._candidates().query(_signature(runs)))
            alike = (n for n in close if sorted(_NUMBER.findall(self._text[n])) == numbers)
            name = next((n for n in alike if _jaccard(runs, self._runs[n]) >= self.similarity), None)
        return None if name is None else (name, self._text[name])

    def _candidates(self) -> Any:
        if self._index is None:
            from datasketch import MinHashLSH

            # Wider than what is wanted: at its own threshold MinHash finds one pair in three.
            self._index = MinHashLSH(threshold=CANDIDATES * self.similarity, num_perm=PERMUTATIONS)
        return self._index


def _runs(question: str) -> frozenset[tuple[str, ...]]:
    tokens = words(question)
    return frozenset(_grams(tokens, 3) or [tuple(tokens)])


def _jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


def _signature(runs: frozenset[tuple[str, ...]]) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS)
    for gram in runs:
        sketch.update(" ".join(gram).encode())
    return sketch


def _passed(check: str) -> Verdict:
    return Verdict(check=check, passed=True)


def _failed(check: str, reason: str) -> Verdict:
    return Verdict(check=check, passed=False, reason=reason)
