"""Records of a benchmark from the hub or from local files, and their division into splits."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domain import Domain
from dataenvgym.envs.errors import DataEnvGymError, DataError, MissingDependencyError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Instance

SUFFIXES = (".jsonl", ".json", ".parquet")
HUB_TIMEOUT = 10.0
"""Seconds within which the hub must answer; the `datasets` package alone would retry for minutes."""


@dataclass(frozen=True)
class Record:
    """A raw row and where it stands, for error messages; `number` counts from 0 in its split."""

    data: Mapping[str, Any]
    number: int
    where: str

    def text(self, column: str, columns: Sequence[str]) -> str:
        """The text in a column.

        Raises:
            DataError: it is missing, is no text, or is empty; `columns` are those expected.
        """
        value = self.data.get(column)
        if isinstance(value, str) and value.strip():
            return value
        if column in self.data:
            problem = f"column {column!r} holds no text: {value!r:.80}"
        else:
            problem = f"no column {column!r}"
        raise DataError(
            f"{self.where}: {problem}. Expected text in the columns {', '.join(columns)}; "
            f"found the columns {', '.join(map(str, self.data)) or 'none'}."
        )


Splits = dict[str, list[Record]]
"""Either `train` and `test`, or `all` where the source has no division of its own."""


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub; the rows of all its `configs` are joined in their order."""

    name: str
    configs: tuple[str, ...] = ("default",)


def read(config: TaskConfig, hub: Sequence[HubSource]) -> Splits:
    """The records that `config.path` names, or else those of the first hub source that exists.

    Raises:
        DataError: a local file is missing, damaged or of an unknown kind.
        MissingDependencyError: nothing can be downloaded; the text says which setting reads local files.
    """
    return _read_hub(config.name, hub) if config.path is None else read_local(Path(config.path))


def read_local(path: Path) -> Splits:
    """The records of a file, or of a folder at any depth.

    A file is one split, `all`. In a folder, files whose name or sub-folder begins with `train` or `test`
    are those splits (`train.jsonl`, `test-00000-of-00001.parquet`, `train/algebra/1.json`); when both are
    there other files are not read, otherwise all files are one split, `all`.

    Raises:
        DataError: nothing to read there, or a file that does not parse.
    """
    path = path.expanduser()
    if path.is_file():
        return {"all": _records([path])}
    if not path.is_dir():
        raise DataError(f"task.path: no file or folder {str(path)!r}. Expected {', '.join(SUFFIXES)} files.")
    files = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not files:
        raise DataError(f"task.path: no {', '.join(SUFFIXES)} file in the folder {str(path)!r}.")
    named: dict[str, list[Path]] = {"train": [], "test": []}
    for file in files:
        for split, members in named.items():
            if any(part.lower().startswith(split) for part in file.relative_to(path).parts):
                members.append(file)
                break
    if all(named.values()):
        return {split: _records(members) for split, members in named.items()}
    return {"all": _records(files)}


def _records(files: Iterable[Path]) -> list[Record]:
    records: list[Record] = []
    for file in files:
        for line, data in _rows(file):
            where = f"{file}, row {line}"
            if not isinstance(data, dict):
                raise DataError(f"{where}: expected an object with columns, found {type(data).__name__}.")
            records.append(Record(data, len(records), where))
    return records


def _rows(file: Path) -> list[tuple[int, Any]]:
    """(row number from 1, row) of a file."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            return list(enumerate(pq.read_table(file).to_pylist(), 1))
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: not a readable parquet file ({error}).") from error
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable as UTF-8 text ({error}).") from error
    if file.suffix == ".json":
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DataError(f"{file}: not valid JSON ({error}).") from error
        return list(enumerate(data if isinstance(data, list) else [data], 1))
    rows = []
    # Not splitlines(): JSON text may hold U+2028 and the like, which it would cut at.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except ValueError as error:
                raise DataError(f"{file}, row {number}: not valid JSON ({error}).") from error
    return rows


def _read_hub(task: str, sources: Sequence[HubSource]) -> Splits:
    advice = (
        f"Pass local files in the same schema with the setting task.path (task.path=/folder/of/{task}), "
        "or set HF_HUB_OFFLINE=1 to use a copy that is already in the hub's cache."
    )
    failures = []
    for source in sources:
        try:
            return _download(source)
        except DataEnvGymError:
            raise
        except Exception as error:
            # The hub's packages raise many kinds, some of no common base; all mean the same to the user.
            failures.append(f"{source.name}: {type(error).__name__}: {str(error).splitlines()[0]:.200}")
            if not _missing(error):
                break
    raise MissingDependencyError(f"task {task!r} cannot be downloaded ({'; '.join(failures)}). {advice}")


def _missing(error: Exception) -> bool:
    """Whether the hub (or its cache) says that it does not have the data set, so that another may do."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import constants
    from huggingface_hub.errors import RepositoryNotFoundError

    return constants.HF_HUB_OFFLINE or isinstance(error, DatasetNotFoundError | RepositoryNotFoundError)


def _download(source: HubSource) -> Splits:
    from datasets import load_dataset
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        HfApi().dataset_info(source.name, timeout=HUB_TIMEOUT)
    splits: Splits = {"train": [], "test": []}
    for name in source.configs:
        loaded = load_dataset(source.name, name)
        for split, records in splits.items():
            if split not in loaded:
                raise DataError(f"{source.name}: expected a split {split!r}, found {', '.join(loaded)}.")
            for row, data in enumerate(loaded[split], 1):
                where = f"{source.name} ({name}), split {split}, row {row}"
                records.append(Record(data, len(records), where))
    return splits


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
    fifth of the rows (or `config.test_size`, at most half) is drawn for test. Then `val_size` per stratum
    is drawn for val, at most half of a stratum, and the rest is train. A question is in one split only:
    of equal questions (case and spacing aside) the first stays, one in test before one in train.

    Raises:
        DataError: a record without its columns, or too few rows for three splits.
    """

    def instances(split: str) -> list[Instance]:
        return [to_instance(f"{config.name}/{split}/{r.number:05d}", r) for r in splits[split]]

    if "all" in splits:
        pool = _unique(instances("all"), set())
        count = config.test_size if config.test_size is not None else max(1, round(len(pool) / 5))
        test = _draw(pool, min(count, len(pool) // 2), _random(config, "test"))
    else:
        official = instances("test")
        pool = _unique(instances("train"), {_question(i) for i in official})
        count = len(official) if config.test_size is None else min(config.test_size, len(official))
        test = _draw(official, count, _random(config, "test"))
    tested = {i.id for i in test}
    pool = [i for i in pool if i.id not in tested]
    val = _stratified(pool, stratum, val_size, _random(config, "val"))
    chosen = {i.id for i in val}
    train = [i for i in pool if i.id not in chosen]
    if not (train and val and test):
        raise DataError(
            f"task {config.name!r}: too few rows for three splits: {len(train)} train, {len(val)} val, "
            f"{len(test)} test. Expected at least 5 different questions, or 2 in train and 1 in test."
        )
    return Task(config.name, domain, tuple(train), tuple(val), tuple(test))


def _random(config: TaskConfig, purpose: str) -> Random:
    """Its own stream for each purpose, so that the size of one split does not change what is drawn next."""
    return Random(f"{config.seed} {config.name} {purpose}")


def _question(instance: Instance) -> str:
    return " ".join(instance.question.split()).casefold()


def _unique(instances: Iterable[Instance], seen: set[str]) -> list[Instance]:
    kept = []
    for instance in instances:
        question = _question(instance)
        if question not in seen:
            seen.add(question)
            kept.append(instance)
    return kept


def _draw(instances: list[Instance], count: int, random: Random) -> list[Instance]:
    """`count` of the instances, drawn without regard to their order, in their order."""
    return [instances[i] for i in sorted(random.sample(range(len(instances)), count))]


def _stratified(
    instances: list[Instance], stratum: Callable[[Instance], str], count: int, random: Random
) -> list[Instance]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(stratum(instance), []).append(instance)
    drawn = [i for name in sorted(groups) for i in _draw(groups[name], min(count, len(groups[name]) // 2), random)]
    # Strata of one row each leave val empty; then they cannot be kept to.
    return drawn or _draw(instances, min(count, len(instances) // 2), random)
