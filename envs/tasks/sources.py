"""Records of a benchmark from the hub or from local files, and their division into splits."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domain import Domain
from dataenvgym.envs.errors import DataEnvGymError, DataError, MissingDependencyError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Instance

SUFFIXES = (".jsonl", ".json", ".parquet", ".jsonl.gz")
SPLITS = ("train", "test")
HUB_TIMEOUT = 10.0
"""Seconds within which the hub must answer; the `datasets` package alone would retry for minutes."""


@dataclass(frozen=True)
class Record:
    """A raw row and where it stands, for error messages; `number` counts from 0 in its split.

    `file` and `offset` (in bytes) say where the line of a `.jsonl` file begins, so that it can be read again.
    """

    data: Mapping[str, Any]
    number: int
    where: str
    file: Path | None = None
    offset: int = 0

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
"""Either `train`, `test` and perhaps `val`, or `all` where the source has no division of its own."""


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub; the rows of all its `configs` are joined in their order.

    `splits` maps our names to the hub's, e.g. `{"all": "test"}` where there is but a test split.
    """

    name: str
    configs: tuple[str, ...] = ("default",)
    splits: Mapping[str, str] = field(default_factory=lambda: {name: name for name in SPLITS})


def read(config: TaskConfig, hub: Sequence[HubSource], splits: Sequence[str] = SPLITS, advice: str = "") -> Splits:
    """The records that `config.path` names, or else those of the first hub source that exists.

    `splits`: the beginnings of file names that `read_local` looks for. `advice`: another way to get the data,
    for the error message.

    Raises:
        DataError: a local file is missing, damaged or of an unknown kind.
        MissingDependencyError: nothing can be downloaded; the text says which setting reads local files.
    """
    if config.path is not None:
        return read_local(Path(config.path), splits)
    return from_hub(config.name, hub, _download, advice)


def read_local(path: Path, splits: Sequence[str] = SPLITS) -> Splits:
    """The records of a file, or of a folder at any depth.

    A file is one split, `all`. In a folder, files whose name or sub-folder begins with `train` or `test` (or
    another of `splits`) are those splits (`train.jsonl`, `test-00000-of-00001.parquet`,
    `train/algebra/1.json`); when both are there other files are not read, otherwise all files are one split,
    `all`.

    Raises:
        DataError: nothing to read there, or a file that does not parse.
    """
    path = path.expanduser()
    files = local_files(path)
    named: dict[str, list[Path]] = {split: [] for split in splits} if path.is_dir() else {}
    for file in files:
        for split, members in named.items():
            if any(part.lower().startswith(split) for part in file.relative_to(path).parts):
                members.append(file)
                break
    if named and all(named.get(split) for split in SPLITS):
        return {split: list(records(members)) for split, members in named.items() if members}
    return {"all": list(records(files))}


def local_files(path: Path) -> list[Path]:
    """The file, or the files of the folder at any depth, in alphabetical order.

    Raises:
        DataError: nothing to read there.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"task.path: no file or folder {str(path)!r}. Expected {', '.join(SUFFIXES)} files.")
    files = sorted(p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file())
    if not files:
        raise DataError(f"task.path: no {', '.join(SUFFIXES)} file in the folder {str(path)!r}.")
    return files


def records(files: Iterable[Path]) -> Iterator[Record]:
    """The rows of files, numbered through. Of a `.jsonl` file one line at a time is in memory.

    Raises:
        DataError: a file that cannot be read, or a row that is no object.
    """
    number = 0
    for file in files:
        for line, data, offset in _rows(file):
            where = f"{file}, row {line}"
            if not isinstance(data, dict):
                raise DataError(f"{where}: expected an object with columns, found {type(data).__name__}.")
            yield Record(data, number, where, file if file.suffix == ".jsonl" else None, offset)
            number += 1


def _rows(file: Path) -> Iterator[tuple[int, Any, int]]:
    """(row number from 1, row, where its line begins in bytes) of a file."""
    try:
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            yield from ((number, row, 0) for number, row in enumerate(pq.read_table(file).to_pylist(), 1))
        elif file.suffix == ".json":
            data = json.loads(file.read_text(encoding="utf-8"))
            yield from (
                (number, row, 0) for number, row in enumerate(data if isinstance(data, list) else [data], 1)
            )
        else:
            yield from _lines(file)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not readable as UTF-8 text ({error}).") from error
    except (OSError, EOFError, ValueError) as error:
        kind = "JSON" if file.suffix == ".json" else file.suffix.removeprefix(".")
        raise DataError(f"{file}: not a readable {kind} file ({error}).") from error


def _lines(file: Path) -> Iterator[tuple[int, Any, int]]:
    offset = 0
    # As bytes, which end a line at \n alone: JSON text may hold U+2028 and the like.
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line.decode("utf-8")), offset
                except json.JSONDecodeError as error:
                    raise DataError(f"{file}, row {number}: not valid JSON ({error}).") from error
            offset += len(line)


Source = TypeVar("Source")
Found = TypeVar("Found")


def from_hub(task: str, sources: Sequence[Source], fetch: Callable[[Source], Found], advice: str = "") -> Found:
    """What `fetch` makes of the first source that the hub has.

    Raises:
        DataError: what it has is not in the data set's schema.
        MissingDependencyError: it has none, or cannot be reached; the text ends with `advice`.
    """
    failures = []
    for source in sources:
        try:
            return fetch(source)
        except DataEnvGymError:
            raise
        except Exception as error:
            # The hub's packages raise many kinds, some of no common base; all mean the same to the user.
            name = source.name if isinstance(source, HubSource) else source
            failures.append(f"{name}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200}")
            if not _missing(error):
                break
    raise MissingDependencyError(
        f"task {task!r} cannot be downloaded ({'; '.join(failures)}). {advice}"
        f"Pass local files in the same schema with the setting task.path (task.path=/folder/of/{task}), "
        "or set HF_HUB_OFFLINE=1 to use a copy that is already in the hub's cache."
    )


def _missing(error: Exception) -> bool:
    """Whether the hub (or its cache) says that it does not have the data set, so that another may do."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import constants
    from huggingface_hub.errors import RepositoryNotFoundError

    return constants.HF_HUB_OFFLINE or isinstance(error, DatasetNotFoundError | RepositoryNotFoundError)


def _download(source: HubSource) -> Splits:
    from datasets import load_dataset

    _reach(source.name)
    splits: Splits = {split: [] for split in source.splits}
    for name in source.configs:
        loaded = load_dataset(source.name, name)
        for ours, split in source.splits.items():
            if split not in loaded:
                raise DataError(f"{source.name}: expected a split {split!r}, found {', '.join(loaded)}.")
            for row, data in enumerate(loaded[split], 1):
                where = f"{source.name} ({name}), split {split}, row {row}"
                splits[ours].append(Record(data, len(splits[ours]), where))
    return splits


def download_files(name: str, files: Sequence[str]) -> list[Path]:
    """Files of a data set on the hub as they lie there: they are read as data, no script beside them is run.

    Raises:
        Exception: whatever the hub's packages raise; `from_hub` makes one error of it.
    """
    from huggingface_hub import hf_hub_download

    _reach(name)
    return [Path(hf_hub_download(name, file, repo_type="dataset")) for file in files]


def _reach(name: str) -> None:
    """Ask the hub for a data set, so that an unreachable one is known of in seconds."""
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)


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
        held = {_question(i) for i in official}
        # `_unique` adds what it keeps to `held`, so that train avoids val as well.
        official_val = _unique(instances("val"), held) if "val" in splits else []
        pool = _unique(instances("train"), held)
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
