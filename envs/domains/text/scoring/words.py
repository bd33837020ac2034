"""Answers in words: case, articles and punctuation do not count, as in SQuAD (arXiv 1606.05250)."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

LONGEST = 20_000
"""Characters of an answer that are compared."""
_ARTICLES = frozenset(("a", "an", "the"))
_IN_NUMBERS = re.compile(r"(?<=\d)[.,:/](?=\d)|(?<![^\W_])[-−](?=\d)")
"""Punctuation that is part of a number: without it 1.5 would be 15, and -5 would be 5."""
_APOSTROPHES = "'’`"


def words(text: str) -> list[str]:
    """The words of a text in lower case, without articles and punctuation. Symbols such as + and < stay.

    A text that holds nothing else keeps what it has, split at blanks.
    """
    text = unicodedata.normalize("NFC", text[:LONGEST]).casefold()
    kept = {match.start() for match in _IN_NUMBERS.finditer(text)}
    plain = "".join(
        char if at in kept else "" if char in _APOSTROPHES else " " if _is_punctuation(char) else char
        for at, char in enumerate(text)
    )
    return [word for word in plain.split() if word not in _ARTICLES] or text.split()


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char).startswith("P")


def same_words(gold: str, answer: str) -> bool:
    """Whether two texts are the same, case, articles and punctuation aside."""
    return words(gold) == words(answer)


def contains(gold: str, answer: str) -> bool:
    """Whether the words of the gold answer stand in the answer, next to one another and in order."""
    wanted, found = words(gold), words(answer)
    return any(found[at : at + len(wanted)] == wanted for at in range(len(found) - len(wanted) + 1))


def overlap(gold: str, answer: str) -> float:
    """F1 of the words that two texts share (0 to 1), each counted as often as both have it (SQuAD's F1)."""
    wanted, found = words(gold), words(answer)
    shared = (Counter(wanted) & Counter(found)).total()
    return 2 * shared / (len(wanted) + len(found)) if shared else 0.0
