"""When two questions are the same: exactly, nearly, or in a long part."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataenvgym.envs.types import Instance

PERMUTATIONS = 128
CANDIDATES = 0.8  # share of the asked similarity from which MinHash proposes a pair
_WORD = re.compile(r"[^\W_]+|[^\w\s]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def words(text: str) -> list[str]:
    """Case-folded words, numbers and signs of a text."""
    return _WORD.findall(text.casefold())


def normalised(text: str) -> str:
    """A text without case, spacing and closing punctuation, for exact comparison."""
    return " ".join(words(text)).rstrip(" .?!")


def diversity(questions: Sequence[str]) -> float | None:
    """Size of the questions compressed over their size as they are: 0 (all the same) to about 1; null for none.

    The compression ratio (here its inverse, zlib) is the cheapest of the measures that agree with slower ones
    on what repeats itself, forms and phrases alike (Shaib et al. 2024, arXiv 2403.00553). It falls as a text
    grows, so compare equal numbers of rows.
    """
    text = "\n".join(questions).encode()
    return len(zlib.compress(text, 9)) / len(text) if text else None


class HeldOut:
    """The val and test questions, indexed for contamination: whole, by what they ask, by runs of `overlap` words.

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
        self._items: list[_Held] = []
        self._grams: dict[tuple[str, ...], list[int]] = {}
        for index, item in enumerate(instances):
            tokens, asks = words(item.question), self._identity(item.question)
            self._items.append(_Held(item.id, asks, _measure(tokens)))
            self._whole.setdefault(normalised(item.question), item.id)
            if asks is not None:
                self._asked.setdefault(asks, item.id)
            for gram in dict.fromkeys(_grams(tokens, overlap)):
                self._grams.setdefault(gram, []).append(index)

    def match(self, question: str) -> tuple[str, str] | None:
        """(id of the held-out instance, the matching text), or None.

        Two questions of which it can be told what they ask are the same when they ask the same. Else shared runs
        of words count, when they hold every number of the one question or of the other: the fixed part of a
        form ("what is the sum of") is no problem by itself. Of a question without numbers they must hold half
        of its words.
        """
        asks = self._identity(question)
        whole = self._whole.get(normalised(question)) or (None if asks is None else self._asked.get(asks))
        if whole is not None:
            return whole, question
        tokens = words(question)
        places: dict[int, set[int]] = {}
        for start, gram in enumerate(_grams(tokens, self._overlap)):
            for index in self._grams.get(gram, ()):
                places.setdefault(index, set()).update(range(start, start + self._overlap))
        ours = _measure(tokens)
        for index, found in places.items():
            held = self._items[index]
            if asks is not None and held.asks is not None:
                continue  # another problem in the same form
            shared = [tokens[i] for i in sorted(found)]
            part = _measure(shared)
            if _holds(part, ours) or _holds(part, held.measure):
                return held.id, " ".join(shared)
        return None


class _Measure(NamedTuple):
    """Of a question or a part of one: its numbers, and how many words it has."""

    numbers: Counter[str]
    size: int


class _Held(NamedTuple):
    """A held-out question."""

    id: str
    asks: str | None
    measure: _Measure


def _measure(tokens: Sequence[str]) -> _Measure:
    return _Measure(Counter(_numbers(tokens)), len(tokens))


def _holds(part: _Measure, whole: _Measure) -> bool:
    """Whether the part holds what makes a question this one."""
    return whole.numbers <= part.numbers if whole.numbers else 2 * part.size >= whole.size


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
