"""The ways to judge a text answer, as data: how it is compared, asked for, and what a gold answer must be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from dataenvgym.envs.domains.text.scoring import words
from dataenvgym.envs.domains.text.scoring.choices import letter_of, options_in, same_choice
from dataenvgym.envs.domains.text.scoring.numbers import Tolerance, number, same_number
from dataenvgym.envs.domains.text.scoring.objects import has_field, last_object, same_fields

THRESHOLD = 0.5
"""Of the scorer f1, where none is set."""
_LONGEST_SEARCHED = 2_000


@dataclass(frozen=True)
class Settings:
    """What the scorers can be told; each reads some of it, as its `Kind.settings` says."""

    labels: tuple[str, ...] = ()
    tolerance: Tolerance = Tolerance(0)  # noqa: RUF009 (never changed)
    fields: tuple[str, ...] = ()
    threshold: float = THRESHOLD
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Kind:
    """A scorer of the text domain.

    `same`: (settings, question, gold, answer) -> whether the answer is right. `ask`: what an answer must be, for
    the instruction. `fault`: (settings, question, gold) -> why it cannot be a gold answer, or "". `wrong`: the
    same -> an answer that a scorer must refuse, or None. `lines`: whether an answer may take several lines.
    """

    name: str
    summary: str
    same: Callable[[Settings, str, str, str], bool]
    ask: Callable[[Settings], str] = lambda settings: "Answer."
    fault: Callable[[Settings, str, str], str] = lambda settings, question, gold: ""
    wrong: Callable[[Settings, str, str], str | None] = lambda settings, question, gold: None
    settings: tuple[str, ...] = ()
    lines: bool = False


def _label(settings: Settings, answer: str) -> str | None:
    """The label that an answer is, case and punctuation aside; None for none."""
    return next((label for label in settings.labels if words.same_words(label, answer)), None)


def _same_label(settings: Settings, question: str, gold: str, answer: str) -> bool:
    return words.same_words(gold, answer) and (not settings.labels or _label(settings, answer) is not None)


def _label_fault(settings: Settings, question: str, gold: str) -> str:
    known = not settings.labels or _label(settings, gold) is not None
    return "" if known else f"the answer {gold!r:.80} is none of the labels {_listed(settings.labels)}"


def _other_label(settings: Settings, question: str, gold: str) -> str | None:
    return next((label for label in settings.labels if not words.same_words(label, gold)), None)


def _choice_fault(settings: Settings, question: str, gold: str) -> str:
    options = options_in(question)
    if not options:
        return "the question has no options: expected lines 'A) ...' at its end, or a column of choices"
    known = letter_of(gold, options) is not None
    return "" if known else f"the answer {gold!r:.80} is none of the options {', '.join(options)}"


def _other_letter(settings: Settings, question: str, gold: str) -> str | None:
    right = letter_of(gold, options_in(question))
    return next((letter for letter in options_in(question) or ascii_uppercase[:2] if letter != right), None)


def _number_fault(settings: Settings, question: str, gold: str) -> str:
    return "" if number(gold) is not None else f"the answer {gold!r:.80} is no number, or more than one"


def _other_number(settings: Settings, question: str, gold: str) -> str | None:
    right = number(gold)
    return None if right is None else str(settings.tolerance.beyond(right))


def _object_fault(settings: Settings, question: str, gold: str) -> str:
    found = last_object(gold)
    if found is None:
        return f"the answer {gold!r:.80} is no JSON object"
    if not found:
        return "the answer is a JSON object without fields"
    missing = next((name for name in settings.fields if not has_field(found, name)), None)
    return "" if missing is None else f"the answer has no field {missing!r}. It has {', '.join(found)}"


def _other_object(settings: Settings, question: str, gold: str) -> str | None:
    return json.dumps(dict.fromkeys(last_object(gold) or {}, "none of these"))


def _found(settings: Settings, text: str) -> str | None:
    """What the pattern finds in a text: its first group, or all of it where it has none."""
    match = settings.pattern.search(text[:_LONGEST_SEARCHED]) if settings.pattern else None
    return None if match is None else match[1] if match.re.groups else match[0]


def _same_found(settings: Settings, question: str, gold: str, answer: str) -> bool:
    wanted = _found(settings, gold)
    return wanted is not None and wanted == _found(settings, answer)


def _pattern_fault(settings: Settings, question: str, gold: str) -> str:
    return "" if _found(settings, gold) is not None else f"the pattern finds nothing in the answer {gold!r:.80}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _ask_label(settings: Settings) -> str:
    return f"Answer with one of: {', '.join(settings.labels)}." if settings.labels else "Answer with the label."


def _ask_object(settings: Settings) -> str:
    named = f" with the fields {', '.join(settings.fields)}" if settings.fields else ""
    return f"Answer with a JSON object{named}, on one line."


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "text",
            "the same words; case, articles and punctuation do not count",
            lambda settings, question, gold, answer: words.same_words(gold, answer),
        ),
        Kind(
            "number",
            "the same number, within a tolerance",
            lambda settings, question, gold, answer: same_number(gold, answer, settings.tolerance),
            ask=lambda settings: "Answer with a number.",
            fault=_number_fault,
            wrong=_other_number,
            settings=("tolerance",),
        ),
        Kind(
            "choice",
            "the same option of the question, by its letter or its text",
            lambda settings, question, gold, answer: same_choice(question, gold, answer),
            ask=lambda settings: "Choose one of the options and answer with its letter.",
            fault=_choice_fault,
            wrong=_other_letter,
        ),
        Kind(
            "label",
            "the same label of a closed set; case and punctuation do not count",
            _same_label,
            ask=_ask_label,
            fault=_label_fault,
            wrong=_other_label,
            settings=("labels",),
        ),
        Kind(
            "contains",
            "the words of the gold answer stand in the answer, in order",
            lambda settings, question, gold, answer: words.contains(gold, answer),
            lines=True,
        ),
        Kind(
            "regex",
            "a pattern finds the same in both answers",
            _same_found,
            fault=_pattern_fault,
            settings=("pattern",),
            lines=True,
        ),
        Kind(
            "json",
            "JSON objects that agree in the named fields",
            lambda settings, question, gold, answer: same_fields(gold, answer, settings.fields),
            ask=_ask_object,
            fault=_object_fault,
            wrong=_other_object,
            settings=("fields",),
            lines=True,
        ),
        Kind(
            "f1",
            "enough words in common (F1 of the words, from a threshold on)",
            lambda settings, question, gold, answer: words.overlap(gold, answer) >= settings.threshold,
            settings=("threshold",),
            lines=True,
        ),
    )
}
"""By their names. `exact`, `math` and those of other packages are registered elsewhere."""
