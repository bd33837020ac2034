"""The division of a benchmark's records into train, val and test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.records import Record, Splits
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Instance

if TYPE_CHECKING:
    from dataenvgym.envs.domains.base import Domain

LONGEST_TEXT = 100_000
"""Characters of a question, solution or answer."""


def make_task(
    config: TaskConfig,
    domain: Domain,
    splits: Splits,
    to_instance: Callable[[str, Record], Instance],
    stratum: Callable[[Instance], str],
    val_size: int,
) -> Task:
    """Instances from records, divided into train, val and test by `config.seed`.

    `to_instance(id, record)` gets a stable id, `task/split of the source/number`, e.g. `math/train/00012`.
    With splits of their own, test is the official one (`config.test_size`: a sample of it). Without, a
    fifth of the rows (or `config.test_size`, at most half) is drawn for test. A `val` split of the source is
    val (`config.val_size`: a sample of it). Where there is none, `val_size` per stratum is drawn for val, at
    most half of a stratum. The rest is train. A question is in one split only: of equal questions (case and
    spacing aside) the first stays, one in test before one in val, one in val before one in train.

    Raises:
        DataError: a record without its columns or with a text longer than `LONGEST_TEXT`, or too few rows for
            three splits.
    """

    def instances(split: str) -> list[Instance]:
        found = ((to_instance(f"{config.name}/{split}/{r.number:05d}", r), r) for r in splits[split])
        return [of_a_size(instance, record.where) for instance, record in found]

    seen: dict[str, Instance] = {}
    dropped: list[tuple[Instance, Instance]] = []
    if "all" in splits:
        pool = _unique(instances("all"), seen, dropped)
        count = config.test_size if config.test_size is not None else max(1, round(len(pool) / 5))
        test = _draw(pool, min(count, len(pool) // 2), _random(config, "test"))
    else:
        official = instances("test")
        seen |= {question_key(i): i for i in official}
        # `_unique` adds what it keeps to `seen`, so that train avoids val as well.
        official_val = _unique(instances("val"), seen, dropped) if "val" in splits else []
        pool = _unique(instances("train"), seen, dropped)
        test = _sample(official, config.test_size, _random(config, "test"))
    tested = {i.id for i in test}
    pool = [i for i in pool if i.id not in tested]
    if "val" in splits:
        val = _sample(official_val, config.val_size, _random(config, "val"))
    else:
        val = _stratified(pool, stratum, val_size, _random(config, "val"))
    chosen = {i.id for i in val}
    train = [i for i in pool if i.id not in chosen]
    if not (train and val and test):
        raise DataError(
            f"task {config.name!r}: too few rows for three splits: {len(train)} train, {len(val)} val, "
            f"{len(test)} test. Expected at least 5 different questions, or 2 in train and 1 in test."
        )
    notes = [*_dropped_notes(dropped), *_cleaned_notes(splits)]
    return Task(config.name, domain, tuple(train), tuple(val), tuple(test), tuple(notes))


def of_a_size(instance: Instance, where: str) -> Instance:
    """The instance, if its texts are no longer than `LONGEST_TEXT`; DataError with the place if they are."""
    for name in ("question", "solution", "answer"):
        length = len(getattr(instance, name))
        if length > LONGEST_TEXT:
            most = f"Expected at most {LONGEST_TEXT:,}: prompts show all."
            raise DataError(f"{where}: the {name} has {length:,} characters. {most}")
    return instance


def _dropped_notes(dropped: list[tuple[Instance, Instance]]) -> list[str]:
    """What is said of questions that were left out: (the one left out, the equal one that stays)."""
    if not dropped:
        return []
    other = [(gone, kept) for gone, kept in dropped if gone.answer.strip() != kept.answer.strip()]
    notes = [f"{len(dropped)} questions are in the data more than once; the first of each stays"]
    if other:
        gone, kept = other[0]
        notes.append(
            f"{len(other)} of them have another answer than the one that stays, e.g. {gone.id} "
            f"({gone.answer!r:.60}) and {kept.id} ({kept.answer!r:.60})"
        )
    return notes


def _cleaned_notes(splits: Splits) -> list[str]:
    cleaned = [record for records in splits.values() for record in records if record.cleaned]
    if not cleaned:
        return []
    return [
        f"{counted(len(cleaned), 'row')} held control characters, lone surrogates or bidirectional overrides, "
        f"which were taken out, e.g. {cleaned[0].where}, column {cleaned[0].cleaned[0]!r}"
    ]


def _random(config: TaskConfig, purpose: str) -> Random:
    """Its own stream for each purpose, so that the size of one split does not change what is drawn next."""
    return Random(f"{config.seed} {config.name} {purpose}")


def question_key(instance: Instance) -> str:
    """What makes two questions the same: their text, case and spacing aside."""
    return " ".join(instance.question.split()).casefold()


def _unique(
    instances: Iterable[Instance], seen: dict[str, Instance], dropped: list[tuple[Instance, Instance]]
) -> list[Instance]:
    """Those whose question is not in `seen`, which grows by them; the others go to `dropped`, with their twin."""
    kept = []
    for instance in instances:
        question = question_key(instance)
        if question in seen:
            dropped.append((instance, seen[question]))
        else:
            seen[question] = instance
            kept.append(instance)
    return kept


def _draw(instances: list[Instance], count: int, random: Random) -> list[Instance]:
    """`count` of the instances, drawn without regard to their order, in their order."""
    return [instances[i] for i in sorted(random.sample(range(len(instances)), count))]


def _sample(instances: list[Instance], size: int | None, random: Random) -> list[Instance]:
    """All of them, or so many of them."""
    return _draw(instances, len(instances) if size is None else min(size, len(instances)), random)


def _stratified(
    instances: list[Instance], stratum: Callable[[Instance], str], count: int, random: Random
) -> list[Instance]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(stratum(instance), []).append(instance)
    drawn = [i for name in sorted(groups) for i in _draw(groups[name], min(count, len(groups[name]) // 2), random)]
    # Strata of one row each leave val empty; then they cannot be kept to.
    return drawn or _draw(instances, min(count, len(instances) // 2), random)
