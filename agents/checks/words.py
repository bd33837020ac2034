"""Split questions into words, for the checks that compare them."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+|[^\w\s]")


def words(text: str) -> list[str]:
    """Return the case-folded words, numbers and signs of a text."""
    return _WORD.findall(text.casefold())


def normalised(text: str) -> str:
    """Remove case, spacing and closing punctuation from a text, for exact comparison."""
    return " ".join(words(text)).rstrip(" .?!")


def grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """Return all runs of `size` words."""
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
