"""From the records of own data to instances: which columns, which scorer, what each answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, NamedTuple

from dataenvgym.envs.domains.text.columns import COLUMNS, as_text, guessed, value_at
from dataenvgym.envs.domains.text.options import CustomOptions
from dataenvgym.envs.domains.text.scoring.choices import MOST, letter_of, with_options
from dataenvgym.envs.domains.text.scoring.numbers import number
from dataenvgym.envs.domains.text.scoring.objects import last_object
from dataenvgym.envs.domains.text.source import split_of
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks.records import Record
from dataenvgym.envs.tasks.splits import LONGEST_TEXT

LABELS_MOST = 20
"""Answers that repeat are taken for labels up to so many different ones."""
_SEEN_FOR_COLUMNS = 100
_NUMBER_FIRST = re.compile(r"[^\w\s]{0,2}\d\S*(?:\s\S{1,12})?$")
"""A number and perhaps its unit."""
_LONGEST_NAME = 100

REQUIRED = ("question", "answer")

Spec = str | list[str]


@dataclass(frozen=True)
class Columns:
    """Which column is what, and which of these were guessed."""

    of: Mapping[str, Spec]
    guessed: tuple[str, ...]

    def notes(self) -> list[str]:
        """What is said of the guesses."""
        if not self.guessed:
            return []
        found = ", ".join(f"{option} from {self.of[option]!r}" for option in self.guessed)
        return [f"columns by their usual names: {found} (task.options names others)"]


def find_columns(options: CustomOptions, records: Sequence[Record]) -> Columns:
    """The columns that the options name, and the others by their usual names.

    Raises:
        DataError: there is none for the question or for the answer.
    """
    named = {name: spec for name in COLUMNS if (spec := getattr(options, name)) is not None}
    given = {name: spec for name, spec in named.items() if spec}
    names = list(dict.fromkeys(str(name) for record in records[:_SEEN_FOR_COLUMNS] for name in record.data))
    taken = [one for spec in given.values() for one in ([spec] if isinstance(spec, str) else spec)]
    found = dict(given)
    for option in COLUMNS:
        if option not in named and (name := guessed(names, option, taken)) is not None:
            if option == "split" and not _are_splits(records, name):
                continue
            found[option] = name
            taken.append(name)
    for option in REQUIRED:
        if option not in found:
            raise DataError(
                f"{records[0].where}: no column has a usual name for the {option}. Found the columns "
                f"{', '.join(names) or 'none'}: name one with task.options.{option}."
            )
    return Columns(found, tuple(option for option in found if option not in given))


def _are_splits(records: Sequence[Record], name: str) -> bool:
    return all(isinstance(value := r.data.get(name), str) and split_of(value) for r in records)


class Item(NamedTuple):
    """A record as it was read, before it is known how answers are judged."""

    record: Record
    id: str | None
    question: str
    answer: Any
    solution: str
    skill: str | None
    choices: dict[str, str]
    """The options by what they are called in the data, e.g. A to D or 1 to 4."""
    split: str | None


def item_of(record: Record, columns: Columns) -> Item:
    """Read a record.

    Raises:
        DataError: a column is missing or holds something else; the text begins with the record's place.
    """
    try:
        return _item(record, columns)
    except DataError as error:
        raise placed(record, error) from error


def placed(record: Record, error: DataError) -> DataError:
    """The error with the place of its record before it."""
    return DataError(f"{record.where}: {str(error).rstrip('.')}.")


def _item(record: Record, columns: Columns) -> Item:
    def at(option: str) -> Any:
        spec = columns.of.get(option)
        if spec is None:
            return None
        # A guess need not hold for every row: JSON rows may leave out what is empty.
        if isinstance(spec, str) and option in columns.guessed and option not in REQUIRED:
            return record.data.get(spec)
        if isinstance(spec, str):
            return value_at(record.data, spec, option)
        return [value for one in spec if (value := value_at(record.data, one, option)) not in (None, "")]

    def text(option: str, **how: bool) -> str:
        value = at(option)
        found = as_text(value, option, **how)
        if isinstance(value, str) and value.strip() != found:
            record.cleaned.append(str(columns.of[option]))
        return found

    def text_or_none(option: str) -> str | None:
        return None if at(option) in (None, "") else text(option, numbers=True)

    question = text("question")
    if len(question) > LONGEST_TEXT:
        raise DataError(f"the question has {len(question):,} characters. Expected at most {LONGEST_TEXT:,}")
    if (answer := at("answer")) is None:
        raise DataError("the answer is missing (null)")
    skill, split = text_or_none("skill"), text("split") if "split" in columns.of else None
    choices = _options(at("choices"), optional="choices" not in columns.of or "choices" in columns.guessed)
    return Item(
        record=record,
        id=_name(text("id", numbers=True), "id") if "id" in columns.of else None,
        question=question,
        answer=answer,
        solution=text_or_none("solution") or "",
        skill=None if skill is None else _name(skill, "skill"),
        choices=choices,
        split=None if split is None else _split(split),
    )


def _name(text: str, what: str) -> str:
    name = " ".join(text.split())
    if len(name) > _LONGEST_NAME or (what == "id" and set(name) & set("[]")):
        raise DataError(f"the {what} {name!r:.60} is too long, or has brackets in it")
    return name


def _split(text: str) -> str:
    if (split := split_of(text)) is None:
        raise DataError(f"the split {text!r:.60} is none of train, val and test")
    return split


def _options(found: Any, *, optional: bool) -> dict[str, str]:
    """The options of a record by what they are called in the data: A, B, ... where these do not say it.

    Raises:
        DataError: it holds no list of options.
    """
    if found in (None, "") and optional:
        return {}
    raw, found = found, _parsed(found) if isinstance(found, str) else found
    names: Any = ascii_uppercase
    if isinstance(found, Mapping) and isinstance(found.get("text"), list):  # as ARC and others write it
        names, found = found.get("label") or names, found["text"]
    elif isinstance(found, Mapping):
        names, found = list(found), list(found.values())
    if not isinstance(found, list) or not 2 <= len(found) <= min(MOST, len(names)):
        raise DataError(f"the choices are no list of 2 to {MOST} texts: {raw!r:.80}")
    texts = [as_text(one, "choice", numbers=True) for one in found]
    return {str(name): text for name, text in zip(names, texts, strict=False)}


def _parsed(text: str) -> Any:
    """Options in one text, as tables have them: a JSON list or object, or set apart by `|` or by lines."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list | dict):
        return found
    return [part.strip() for part in text.split("|" if "|" in text else "\n") if part.strip()]


def guess_scorer(options: CustomOptions, items: Sequence[Item]) -> str:
    """The scorer that the settings or the answers ask for.

    Settings that only one scorer reads tell it; then choices, objects, numbers, and answers that repeat (labels).
    All else is text.
    """
    for name, setting in (("label", "labels"), ("json", "fields"), ("regex", "pattern"), ("f1", "threshold")):
        if getattr(options, setting) is not None:
            return name
    if options.tolerance is not None:
        return "number"
    if all(item.choices for item in items):
        return "choice"
    answers = [item.answer for item in items]
    if all(
        isinstance(a, dict) or (isinstance(a, str) and a.lstrip().startswith("{") and last_object(a))
        for a in answers
    ):
        return "json"
    texts = [a.strip() if isinstance(a, str) else str(a) for a in answers]
    if all(number(text) is not None and _NUMBER_FIRST.match(text) for text in texts):
        return "number"
    kinds = {text.casefold() for text in texts}
    repeated = len(kinds) <= min(LABELS_MOST, len(texts) / 3)
    return "label" if repeated and all(len(text) < 40 and "\n" not in text for text in texts) else "text"


def gold(item: Item, scorer: str) -> str:
    """The right answer as the student is to write it.

    Raises:
        DataError: it is nothing that the scorer can compare. It has no place yet.
    """
    answer = item.answer
    if scorer == "json" and isinstance(answer, dict | list):
        return json.dumps(answer, ensure_ascii=False)
    if scorer == "choice" and item.choices:
        return _letter(item, answer)
    if scorer == "label" and isinstance(answer, bool):
        return "true" if answer else "false"
    return " ".join(as_text(answer, "answer", numbers=True).split())


def _letter(item: Item, answer: Any) -> str:
    """The letter of the right option: by its text, its name in the data or its letter, or its number from 0."""
    options = dict(zip(ascii_uppercase, item.choices.values(), strict=False))
    text = as_text(answer, "answer", numbers=True)
    exact = [letter for letter, option in options.items() if option == text]
    if len(exact) == 1 and isinstance(answer, str):
        return exact[0]
    if text in item.choices:
        return ascii_uppercase[list(item.choices).index(text)]
    if (letter := letter_of(text, options)) is not None:
        return letter
    if text.isdecimal() and int(text) < len(options):
        return ascii_uppercase[int(text)]
    raise DataError(
        f"the answer {text!r:.60} is none of its {len(options)} choices: expected a letter, a choice's text or "
        "its number from 0"
    )


def question_of(item: Item) -> str:
    """The question as it is asked, its choices below it."""
    return with_options(item.question, list(item.choices.values())) if item.choices else item.question
