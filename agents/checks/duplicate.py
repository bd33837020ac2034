"""`duplicate`: no accepted row asks the same, exactly or nearly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dataenvgym.agents.checks.base import CheckContext, failed, passed
from dataenvgym.agents.checks.registry import check
from dataenvgym.agents.checks.words import grams, normalised, words
from dataenvgym.envs.types import Row, Verdict

PERMUTATIONS = 128
CANDIDATES = 0.8  # share of the asked similarity from which MinHash proposes a pair
DUPLICATE_OF = "duplicate_of"
"""The mark that names the row of which a rejected one is a duplicate."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@check("duplicate", "free", "no accepted row asks the same, exactly or nearly")
def check_duplicate(row: Row, context: CheckContext) -> Verdict:
    """Check that no accepted row has the same question, exactly or nearly (MinHash over word 3-grams).

    Near-duplicates must also have the same numbers: "47 + 85" and "47 + 58" are two problems of one form.
    """
    duplicate = context.seen.find_duplicate(row.question)
    if duplicate is not None:
        verdict = failed("duplicate", f"same as {duplicate[0]}: {duplicate[1]!r}")
        return verdict.model_copy(update={"marks": {DUPLICATE_OF: duplicate[0]}})
    return passed("duplicate")


@dataclass
class AcceptedQuestions:
    """An index of the accepted questions, exact and by word 3-grams; MinHash (datasketch) finds the candidates."""

    similarity: float
    _exact: dict[str, str] = field(default_factory=dict)
    _text: dict[str, str] = field(default_factory=dict)
    _runs: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    _index: Any = None

    def add(self, name: str, question: str) -> None:
        """Add a row's question to the index."""
        if name not in self._text:
            self._runs[name] = _runs(question)
            self._candidates().insert(name, _signature(self._runs[name]))
        self._exact[normalised(question)] = name
        self._text[name] = question

    def discard(self, names: Iterable[str]) -> None:
        """Remove rows from the index; names that are not in it are passed over."""
        for name in set(names) & set(self._text):
            question = normalised(self._text.pop(name))
            if self._exact.get(question) == name:
                del self._exact[question]
            self._candidates().remove(name)
            del self._runs[name]

    def find_duplicate(self, question: str) -> tuple[str, str] | None:
        """Find an accepted question that is the same or nearly the same; return (row id, question), or None."""
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

            # A lower threshold than asked for: at the asked one MinHash finds only one pair in three.
            self._index = MinHashLSH(threshold=CANDIDATES * self.similarity, num_perm=PERMUTATIONS)
        return self._index


def _runs(question: str) -> frozenset[tuple[str, ...]]:
    tokens = words(question)
    return frozenset(grams(tokens, 3) or [tuple(tokens)])


def _jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


def _signature(runs: frozenset[tuple[str, ...]]) -> Any:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS)
    for gram in runs:
        sketch.update(" ".join(gram).encode())
    return sketch
