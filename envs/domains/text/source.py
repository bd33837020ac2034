"""Where own data are read from, and which of their splits are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.tasks.hub import read_whole
from dataenvgym.envs.tasks.reading import Bad
from dataenvgym.envs.tasks.records import Record, Splits, local_files, records

HUB = "hub:"
VAL_MOST, TEST_MOST = 300, 500
"""Instances of val and test where the config does not say; see `default_size`."""
SHARE = 0.3
"""Of the questions go to val, and as many to test: train is but the pool of exemplars."""
_BEGINNINGS = {"train": "train", "val": "val", "dev": "val", "eval": "val", "test": "test"}


def default_size(questions: int, most: int) -> int:
    """How many of so many questions are val, or test: three in ten, at most `most`, at least one."""
    return max(1, min(most, round(SHARE * questions)))


def split_of(name: str) -> str | None:
    """The split that a file, a hub's split or a value of a column means: train, val or test; None for neither."""
    plain = name.strip().casefold()
    return next((split for beginning, split in _BEGINNINGS.items() if plain.startswith(beginning)), None)


def read(config: TaskConfig, bad: Bad) -> Splits:
    """The records of a file, a folder or a data set of the hub: `train`, `val`, `test` as far as given, or `all`.

    Files of a folder, and splits of the hub, that are named otherwise are left out where some are named so.

    Raises:
        ConfigError: no `task.path`, or no name after `hub:`.
        DataError: nothing that can be read there.
    """
    if config.path is None:
        raise ConfigError(
            "task 'custom' reads your own data: set task.path to a file, a folder or hub:org/name[:config]."
        )
    if config.path.startswith(HUB):
        name, _, subset = config.path.removeprefix(HUB).partition(":")
        if not name.strip("/ "):
            raise ConfigError(f"task.path: {config.path!r} names no data set. Expected hub:org/name[:config].")
        found = read_whole(config.name, name, subset or None, config.revision)
        return _grouped([(split_of(split), rows) for split, rows in found.items()])
    path = Path(config.path).expanduser()
    files = local_files(path)
    named = [split_of_file(path, file) for file in files]
    if not any(named):
        return {"all": list(records(files, bad))}
    return _grouped([(split, list(records([f], bad))) for split, f in zip(named, files, strict=True) if split])


def split_of_file(path: Path, file: Path) -> str | None:
    """The split that a file of a folder is, by its name or that of a folder within; None for a file on its own."""
    if file == path:
        return None
    return next(filter(None, map(split_of, file.relative_to(path).parts)), None)


def _grouped(parts: Sequence[tuple[str | None, list[Record]]]) -> Splits:
    """The parts joined by split and numbered through; `all` where none is named."""
    known = any(split for split, _ in parts)
    found: Splits = {}
    for split, rows in parts:
        if split or not known:
            found.setdefault(split or "all", []).extend(rows)
    return {split: _numbered(rows) for split, rows in found.items()}


def _numbered(rows: Sequence[Record]) -> list[Record]:
    return [row if row.number == number else replace(row, number=number) for number, row in enumerate(rows)]


def by_split(rows: Sequence[tuple[str, Record]]) -> Splits:
    """Records grouped by the split that stands with each."""
    return _grouped([(split, [record]) for split, record in rows])


def completed(splits: Splits, config: TaskConfig, notes: list[str]) -> Splits:
    """The same with `train` and `test`, or `all`; `notes` tells what is drawn for a split that is not given."""
    given = {split for split, rows in splits.items() if rows}
    if "all" in given or {"train", "test"} <= given:
        return splits
    if len(given) < 2:
        return {"all": _numbered([row for rows in splits.values() for row in rows])}
    lacking, source, most = ("test", "train", TEST_MOST) if "train" in given else ("train", "val", VAL_MOST)
    pool = splits[source]
    asked = config.test_size if lacking == "test" else None
    count = min(asked or default_size(len(pool), most), len(pool) - 1)
    drawn = set(Random(f"{config.seed} {config.name} {lacking}").sample(range(len(pool)), count))
    notes.append(f"the data have no {lacking} split: {count} of the {len(pool)} rows of {source} are drawn for it")
    return splits | {
        lacking: [row for number, row in enumerate(pool) if number in drawn],
        source: [row for number, row in enumerate(pool) if number not in drawn],
    }
