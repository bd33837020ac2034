"""Multiple choice: the options stand in the question, a line each: `A) ...`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from dataenvgym.envs.domains.text.scoring.words import same_words

MOST = len(ascii_uppercase)
_OPTION = re.compile(r"[ \t]*\(?([A-Z])[).:][ \t]+(\S.*)")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
_LETTER_FIRST = re.compile(r"\(?([A-Z])[).:]\s")


def with_options(question: str, options: Sequence[str]) -> str:
    """The question with its options below it."""
    lines = (
        f"{letter}) {' '.join(option.split())}" for letter, option in zip(ascii_uppercase, options, strict=False)
    )
    return "\n".join([question, *lines])


def options_in(question: str) -> dict[str, str]:
    """The options at the end of a question, by their letters from A; empty where there are not at least two."""
    found: dict[str, str] = {}
    for line in reversed(question.rstrip().split("\n")):
        if not (match := _OPTION.fullmatch(line.rstrip())):
            break
        found[match[1]] = match[2]
    letters = "".join(reversed(found))
    return dict(reversed(found.items())) if len(letters) > 1 and ascii_uppercase.startswith(letters) else {}


def letter_of(answer: str, options: dict[str, str]) -> str | None:
    """The letter that an answer chooses: alone, before the text of its option, or that text alone.

    Without options any letter counts.
    """
    answer = answer.strip().strip("*_").strip()
    if found := _LETTER.fullmatch(answer) or _LETTER_FIRST.match(answer):
        letter = found[1].upper()
        return letter if not options or letter in options else None
    chosen = [letter for letter, option in options.items() if same_words(option, answer)]
    return chosen[0] if len(chosen) == 1 else None


def same_choice(question: str, gold: str, answer: str) -> bool:
    """Whether both answers choose the same option of the question."""
    options = options_in(question)
    wanted = letter_of(gold, options)
    return wanted is not None and wanted == letter_of(answer, options)
