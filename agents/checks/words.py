"""The words of a question, as the checks compare them."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+|[^\w\s]")


def words(text: str) -> list[str]:
    """Case-folded words, numbers and signs of a text."""
    return _WORD.findall(text.casefold())


def normalised(text: str) -> str:
    """A text without case, spacing and closing punctuation, for exact comparison."""
    return " ".join(words(text)).rstrip(" .?!")


def grams(tokens: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """All runs of `size` words."""
    return [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
