"""What the scripted chat model knows of own data: nothing but what a prompt shows of it.

It varies the train problems that it is shown, which keeps their answers in the form that the task asks for. Shown
none, it writes questions about words, whose answers it can work out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase

from dataenvgym.envs.domains.base import Curriculum, Fields
from dataenvgym.envs.domains.text.scoring.choices import letter_of, options_in, with_options

WORDS = (
    "apple", "bread", "cloud", "door", "eagle", "field", "garden", "harbour", "island", "jacket", "kettle",
    "ladder", "meadow", "needle", "ocean", "pepper", "quilt", "river", "stone", "table", "umbrella", "valley",
)  # fmt: skip
_NUMBER = "How many words are in this line? "
_CHOICE = "Which of these words comes first in the alphabet?"
_WORD = "Write the last word of this line: "


@dataclass(frozen=True)
class Kind:
    """A kind of question: what it is about, and its only variant."""

    summary: str
    variants: tuple[str, ...]


SKILLS = {
    "choosing": Kind("questions with options", ("three options",)),
    "numbers": Kind("questions with numbers in them", ("counting",)),
    "words": Kind("questions without numbers", ("last words",)),
}


def recognise(question: str) -> str:
    """The kind of any question, by its form."""
    if options_in(question) or re.search(r" A\) .* B\) ", question):
        return "choosing"
    return "numbers" if question.startswith(_NUMBER) or re.search(r"\d", question) else "words"


def solve(question: str) -> str | None:
    """The answer to a question about words that stands here; None for any other."""
    if question.startswith(_NUMBER):
        return str(len(question.removeprefix(_NUMBER).split()))
    if question.startswith(_WORD):
        return question.split()[-1]
    options = options_in(question)
    return min(options, key=options.__getitem__) if question.startswith(_CHOICE) and options else None


def _draw(skill: str, seed: int, index: int, variant: str | None) -> tuple[str, Callable[[], Fields]]:
    rng = Random(f"{skill} {seed} {index}")
    words = rng.sample(WORDS, rng.randint(3, 8))
    if skill == "choosing":
        question = with_options(_CHOICE, words[:3])
    else:
        question = (_NUMBER if skill == "numbers" else _WORD) + " ".join(words)
    return question, lambda: _row(question, solve(question) or "")


def _row(question: str, answer: str) -> Fields:
    return {"question": question, "solution": "", "answer": answer}


def _vary(question: str, answer: str, number: int) -> Fields:
    return _row(f"Number {number}. {question}", answer)


def _wrong(question: str, answer: str, rng: Random) -> str:
    """Another answer than the given one."""
    options = options_in(question) or dict.fromkeys(ascii_uppercase[:4], "")
    if (letter := letter_of(answer, options)) is not None and answer.strip("(). ") == letter:
        return rng.choice([other for other in options if other != letter])
    if re.fullmatch(r"-?\d+", answer):
        return str(int(answer) + rng.randint(1, 9))
    return f"{answer} {rng.choice(WORDS)}"


CURRICULUM = Curriculum(
    skills=SKILLS,
    recognise=recognise,
    identity=lambda question: question,
    draw=_draw,
    solve=solve,
    wrong=_wrong,
    copy=_row,
    vary=_vary,
)
