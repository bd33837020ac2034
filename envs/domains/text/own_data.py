"""Own data as a task: read, judged and divided, with the place of each row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text import source
from dataenvgym.envs.domains.text.instances import Columns, Item, find_columns, item_of, placed
from dataenvgym.envs.domains.text.judging import Judge, judge
from dataenvgym.envs.domains.text.options import CustomOptions
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.records import Splits
from dataenvgym.envs.tasks.splits import make_task, of_a_size, question_key
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Instance

WIDEST = 0.2
"""Own data are often few: a split whose interval is wider than this is named."""
SHOWN = 3
"""Bad rows that are shown where they are left out."""
Thing = TypeVar("Thing")
Made = TypeVar("Made")


@dataclass(frozen=True)
class OwnData:
    """Own data as they were read.

    `read`: every instance by split (`all`: not divided by the data), also those that the task leaves out because
    their question is there twice. `places`: instance id -> file and row. `bad`: why rows were left out.
    """

    task: Task
    columns: Columns
    judge: Judge
    read: dict[str, list[Instance]]
    places: dict[str, str]
    bad: list[str]


class _BadRows:
    """The rows that cannot be used, and whether they may be left out."""

    def __init__(self, leave_out: bool) -> None:
        self.leave_out, self.errors = leave_out, list[DataError]()

    def each(self, things: Sequence[Thing], make: Callable[[Thing], Made]) -> list[Made]:
        """What `make` makes of the things; those it refuses are bad."""
        found = []
        for thing in things:
            try:
                found.append(make(thing))
            except DataError as error:
                self.errors.append(error)
        return found

    def refuse(self, left: int) -> None:
        """Raise the first error, unless bad rows may be left out and some rows are left."""
        if not self.errors or (self.leave_out and left):
            return
        more = len(self.errors) - 1
        others = f" {counted(more, 'more row')} cannot be used." if more else ""
        hint = "" if self.leave_out else " task.options.on_bad=skip leaves such rows out."
        raise DataError(f"{self.errors[0]}{others}{hint}") from self.errors[0]

    def note(self) -> list[str]:
        """What is said of the rows that are left out."""
        if not self.errors:
            return []
        shown = " ".join(str(error) for error in self.errors[:SHOWN])
        return [f"{counted(len(self.errors), 'row')} cannot be used and left out, e.g. {shown}"]


def load(config: TaskConfig) -> OwnData:
    """Read own data, find out how they are judged, and divide them.

    Splits are those of the data (a column, files or the hub's), or drawn by `config.seed`: val and test three in
    ten questions each, val at most 300 and test at most 500, where `val_size` and `test_size` say nothing.

    Raises:
        ConfigError: no path, a setting of the scorer that is missing or not its own, or sizes that the data lack.
        DataError: nothing can be read, or a row cannot be used (`on_bad: skip` leaves rows out).
        UnknownNameError: no such scorer.
    """
    options = options_of(config, CustomOptions)
    bad = _BadRows(options.on_bad == "skip")
    found = source.read(config, bad.errors.append)
    records = [record for rows in found.values() for record in rows]
    bad.refuse(len(records))
    if not records:
        raise DataError(f"task.path: there are no rows in {config.path!r}.")
    columns = find_columns(options, records)
    items = {split: bad.each(rows, lambda record: item_of(record, columns)) for split, rows in found.items()}
    bad.refuse(sum(map(len, items.values())))
    judged = judge(options, [item for rows in items.values() for item in rows])
    instances = _instances(items, judged, bad)
    bad.refuse(len(instances))
    notes = [*columns.notes(), *_judged_by(options, judged), *bad.note()]
    splits = source.completed(_given(items, instances), config, notes)
    named = {
        record.where: one if (one := instances[record.where]).id else one.model_copy(update={"id": identity})
        for split, rows in splits.items()
        for record in rows
        for identity in [f"{config.name}/{split}/{record.number:05d}"]
    }
    read = {split: [named[record.where] for record in rows] for split, rows in splits.items()}
    _refuse_equal_splits(read)
    sized = _sized(config, read)
    made = make_task(
        sized, judged.domain, splits, lambda _, record: named[record.where], lambda _: "", sized.val_size or 1
    )
    places = {instance.id: where for where, instance in named.items()}
    judged.try_on(made.val[0], places[made.val[0].id])
    task = replace(made, notes=(*notes, *made.notes), widest=WIDEST)
    return OwnData(task, columns, judged, read, places, [str(error) for error in bad.errors])


def _judged_by(options: CustomOptions, judged: Judge) -> list[str]:
    if options.scorer is not None:
        return []
    labels = f" ({len(judged.settings.labels)} labels)" if judged.name == "label" else ""
    return [f"the scorer is {judged.name}{labels}, as the answers look (task.options.scorer names another)"]


def _instances(items: Mapping[str, list[Item]], judged: Judge, bad: _BadRows) -> dict[str, Instance]:
    """The instances by the place of their record; two of one id are a fault of the second."""
    seen: dict[str, str] = {}

    def made(item: Item) -> tuple[str, Instance]:
        where = item.record.where
        try:
            instance = of_a_size(judged.instance(item), where)
        except DataError as error:
            raise error if str(error).startswith(where) else placed(item.record, error) from error
        if item.id is not None and (first := seen.setdefault(item.id, where)) != where:
            raise placed(item.record, DataError(f"the id {item.id!r:.80} is that of {first} already"))
        return where, instance

    return dict(pair for rows in items.values() for pair in bad.each(rows, made))


def _given(items: Mapping[str, list[Item]], instances: Mapping[str, Instance]) -> Splits:
    """The records that are left, by the split their column says, or the one they were read as."""
    rows = [
        (split if item.split is None else item.split, item.record)
        for split, found in items.items()
        for item in found
        if item.record.where in instances
    ]
    if all(split == "all" for split, _ in rows):
        return {"all": [record for _, record in rows]}
    return source.by_split(rows)


def _refuse_equal_splits(read: Mapping[str, Sequence[Instance]]) -> None:
    """Refuse data of which no train question is left, since all are in val or test as well."""
    for split in ("test", "val"):
        held = {question_key(instance) for instance in read.get(split, ())}
        train = read.get("train", ())
        if train and held and all(question_key(instance) in held for instance in train):
            raise DataError(
                f"all {counted(len(train), 'question')} of train are in {split} as well. Is it the same file?"
            )


def _sized(config: TaskConfig, read: Mapping[str, Sequence[Instance]]) -> TaskConfig:
    """The config with the sizes of val and test.

    Raises:
        ConfigError: there are not enough questions for the sizes asked.
    """

    def size(name: str, asked: int | None, default: int, most: int, of: str) -> int:
        if asked is not None and asked > most:
            raise ConfigError(f"task.{name}_size: {asked} is too many: the data have {of}, so at most {most}.")
        return max(1, min(asked or default, most))

    different = {split: len({question_key(instance) for instance in rows}) for split, rows in read.items()}
    whole = different.get("all")
    if whole is not None:
        of = f"{counted(whole, 'different question')} in all, half of which may be test"
        test = size("test", config.test_size, source.default_size(whole, source.TEST_MOST), whole // 2, of)
        left, default = whole - test, source.default_size(whole, source.VAL_MOST)
    else:
        of = f"{counted(different['test'], 'question')} in test"
        test = size("test", config.test_size, different["test"], different["test"], of)
        left, default = different["train"], source.default_size(different["train"], source.VAL_MOST)
    if "val" in different:
        of = f"{counted(different['val'], 'question')} in val"
        val = size("val", config.val_size, different["val"], different["val"], of)
    else:
        of = f"{left} for val and train, half of which may be val"
        val = size("val", config.val_size, default, left // 2, of)
    return config.model_copy(update={"test_size": test, "val_size": val})
