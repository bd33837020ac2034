"""What a look at own data shows before anything is spent: how their scorer judges, and what is suspicious."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.domains.text.own_data import OwnData
from dataenvgym.envs.domains.text.scoring import words
from dataenvgym.envs.tasks.splits import question_key
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Instance

CHARACTERS_PER_TOKEN = 4
"""An estimate, since no student is loaded for it."""
SHOWN = 3
COMMON = 0.6
"""From this share on, an answer that is always the same is worth a word."""
NO_ANSWER = "none of these"


class Trial(NamedTuple):
    """Answers that were scored: how many of how many were right, and a line for each that was misjudged."""

    right: int
    total: int
    faults: list[str]


def everything(data: OwnData) -> list[Instance]:
    """All instances that were read."""
    return [instance for found in data.read.values() for instance in found]


def try_right_answers(data: OwnData, domain: Domain) -> Trial:
    """Score what the student would be trained to write to each question; all should be right."""
    found = everything(data)
    scored = domain.score(found, [domain.example(instance).completion for instance in found])
    faults = [
        f"{data.places[instance.id]}: {instance.answer!r:.60} is read as {one.answer!r:.60}, wrong. {one.detail}"
        for instance, one in zip(found, scored, strict=True)
        if not one.correct
    ]
    return Trial(len(found) - len(faults), len(found), [fault.strip() for fault in faults])


def try_wrong_answers(data: OwnData, domain: Domain) -> Trial:
    """Score answers that are meant to be wrong; none should be right.

    To each question: one that the scorer must refuse, the answer to another question, and words that say nothing.
    """
    pairs = [(one, wrong) for one, other in _with_another(everything(data)) for wrong in _wrong(data, one, other)]
    marks = domain.marks([instance for instance, _ in pairs], [answer for _, answer in pairs])
    accepted = [
        f"{data.places[instance.id]}: {answer!r:.60} counts as right where {instance.answer!r:.60} is"
        for (instance, answer), mark in zip(pairs, marks, strict=True)
        if mark.correct
    ]
    return Trial(len(accepted), len(pairs), accepted)


def _with_another(instances: Sequence[Instance]) -> Iterator[tuple[Instance, Instance | None]]:
    """Each instance with the next one after it that has another answer."""
    for at, instance in enumerate(instances):
        after = [*instances[at + 1 : at + 50], *instances[:at][:50]]
        yield instance, next((one for one in after if not words.same_words(one.answer, instance.answer)), None)


def _wrong(data: OwnData, instance: Instance, other: Instance | None) -> list[str]:
    kind = data.judge.kind
    made = None if kind is None else kind.wrong(data.judge.settings, instance.question, instance.answer)
    found = [made, None if other is None else other.answer, NO_ANSWER]
    return [answer for answer in dict.fromkeys(found) if answer is not None and answer != instance.answer]


def suspicions(data: OwnData, domain: Domain, *, row_tokens: int, answer_tokens: int) -> list[str]:
    """A line for each thing in the data that is rarely meant, with the places of the first few.

    `row_tokens`, `answer_tokens`: the longest training row and answer of the student.
    """
    return [
        *_repeated(data),
        *_in_the_question(data),
        *_classes(data),
        *_too_long(data, domain, row_tokens, answer_tokens),
        *_left_out(data),
    ]


def _places(data: OwnData, instances: Sequence[Instance]) -> str:
    shown = "; ".join(data.places[instance.id] for instance in instances[:SHOWN])
    return shown + (f"; and {len(instances) - SHOWN} more" if len(instances) > SHOWN else "")


def _repeated(data: OwnData) -> Iterator[str]:
    """Questions that stand there twice: in one split, in two, with another answer."""
    first: dict[str, tuple[str, Instance]] = {}
    twice: list[tuple[Instance, Instance]] = []
    across: list[tuple[Instance, Instance]] = []
    for split, found in data.read.items():
        for instance in found:
            before, kept = first.setdefault(question_key(instance), (split, instance))
            if kept is not instance:
                (twice if before == split else across).append((kept, instance))
    against = [(a, b) for a, b in [*twice, *across] if a.answer != b.answer]
    for pairs, one, several in (
        (twice, "stands there more than once", "stand there more than once"),
        (across, "stands in two splits", "stand in two splits"),
        (against, "has two different answers", "have two different answers"),
    ):
        if pairs:
            shown = "; ".join(f"{data.places[a.id]} and {data.places[b.id]}" for a, b in pairs[:SHOWN])
            yield f"{counted(len(pairs), 'question')} {one if len(pairs) == 1 else several}: {shown}"


def _in_the_question(data: OwnData) -> Iterator[str]:
    """Answers that can be copied from their question; those of a closed set often stand in it."""
    if data.judge.name in ("choice", "label", "number", "json"):
        return
    found = [one for one in everything(data) if words.contains(one.answer, one.question)]
    if found:
        yield f"{counted(len(found), 'answer')} can be read in the question: {_places(data, found)}"


def _classes(data: OwnData) -> Iterator[str]:
    task, labels = data.task, data.judge.settings.labels
    splits = {"train": task.train, "val": task.val, "test": task.test}
    for label in labels:
        lacking = [
            name for name, found in splits.items() if not any(words.same_words(label, i.answer) for i in found)
        ]
        if lacking:
            yield f"no instance of {' and '.join(lacking)} has the label {label!r:.60}"
    answer, count = Counter(instance.answer for instance in task.val).most_common(1)[0]
    if len(task.val) > 1 and count >= COMMON * len(task.val):
        yield f"who always says {answer!r:.60} is right in {count} of {len(task.val)} val instances"


def _too_long(data: OwnData, domain: Domain, row_tokens: int, answer_tokens: int) -> Iterator[str]:
    def tokens(text: str) -> int:
        return -(-len(text) // CHARACTERS_PER_TOKEN)

    examples = [(instance, domain.example(instance)) for instance in everything(data)]
    rows = [one for one, example in examples if tokens(example.prompt) + tokens(example.completion) > row_tokens]
    answers = [one for one, example in examples if tokens(example.completion) > answer_tokens]
    if rows:
        yield (
            f"{counted(len(rows), 'row')} may be longer than the {row_tokens} tokens that a student is trained on "
            f"(student.train.max_length): {_places(data, rows)}"
        )
    if answers:
        yield (
            f"{counted(len(answers), 'answer')} may be longer than the {answer_tokens} tokens that a student may "
            f"write (student.generation.max_new_tokens): {_places(data, answers)}"
        )


def _left_out(data: OwnData) -> Iterator[str]:
    if data.bad:
        more = f" And {len(data.bad) - SHOWN} more." if len(data.bad) > SHOWN else ""
        yield f"{counted(len(data.bad), 'row')} left out: {' '.join(data.bad[:SHOWN])}{more}"
