"""Records of a benchmark from the hub, or from local files in their place."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import DataEnvGymError, DataError, MissingDependencyError
from dataenvgym.envs.tasks.base import HubData
from dataenvgym.envs.tasks.records import SPLITS, Record, Splits, read_local

HUB_TIMEOUT = 10.0
"""Seconds within which the hub must answer; the `datasets` package alone would retry for minutes."""

# A commit of the hub, as a revision, in a path of its cache, and in the addresses that `datasets` notes.
COMMIT = re.compile(r"[0-9a-f]{40}")
_IN_CACHE = re.compile(rf"/snapshots/({COMMIT.pattern})/")
_IN_ADDRESS = re.compile(rf"@({COMMIT.pattern})/")

Source = TypeVar("Source")
Loaded = TypeVar("Loaded")

_loads: ContextVar[list[HubData] | None] = ContextVar("loads", default=None)


@contextmanager
def watched() -> Iterator[list[HubData]]:
    """Collect which data sets of the hub are loaded during the block, in order."""
    found: list[HubData] = []
    token = _loads.set(found)
    try:
        yield found
    finally:
        _loads.reset(token)


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

    Those of the hub are of `config.revision`.

    `splits`: the beginnings of file names that `read_local` looks for. `advice`: another way to get the data,
    for the error message.

    Raises:
        DataError: a local file is missing, damaged or of an unknown kind.
        MissingDependencyError: nothing can be downloaded; the text says which setting reads local files.
    """
    if config.path is not None:
        return read_local(Path(config.path), splits)
    return from_hub(config.name, hub, lambda source: _download(source, config.revision), advice)


def from_hub(task: str, sources: Sequence[Source], fetch: Callable[[Source], Loaded], advice: str = "") -> Loaded:
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


def read_whole(task: str, name: str, subset: str | None, revision: str | None) -> Splits:
    """The records of every split of a data set on the hub, by the hub's own names of the splits.

    Classes are the names that the hub knows them by, not their numbers.

    `subset`: its config there; None: its only one.

    Raises:
        MissingDependencyError: it cannot be downloaded; the text names `task`.
    """

    def fetch(name: str) -> Splits:
        from datasets import load_dataset

        commit = _reach(name, revision)
        loaded = load_dataset(name, *([] if subset is None else [subset]), **_at(commit))
        _note_splits(name, commit, loaded)
        where = name if subset is None else f"{name} ({subset})"
        return {split: list(_records(where, split, _with_class_names(rows), 0)) for split, rows in loaded.items()}

    return from_hub(task, [name], fetch)


def _download(source: HubSource, revision: str | None) -> Splits:
    from datasets import load_dataset

    commit = _reach(source.name, revision)
    splits: Splits = {split: [] for split in source.splits}
    for name in source.configs:
        loaded = load_dataset(source.name, name, **_at(commit))
        for ours, split in source.splits.items():
            if split not in loaded:
                raise DataError(f"{source.name}: expected a split {split!r}, found {', '.join(loaded)}.")
            splits[ours] += _records(f"{source.name} ({name})", split, loaded[split], len(splits[ours]))
        _note_splits(source.name, commit, loaded)
    return splits


def _records(where: str, split: str, rows: Iterable[Mapping[str, Any]], start: int) -> Iterator[Record]:
    for row, data in enumerate(rows, 1):
        yield Record(data, start + row - 1, f"{where}, split {split}, row {row}")


def _with_class_names(rows: Any) -> Iterator[Mapping[str, Any]]:
    """Rows with the names of classes in place of their numbers; null where a class is not told (-1)."""
    from datasets import ClassLabel

    features = getattr(rows, "features", None) or {}
    names = {column: kind.names for column, kind in features.items() if isinstance(kind, ClassLabel)}
    for row in rows:
        classes = {
            column: known[row[column]] if row[column] is not None and row[column] >= 0 else None
            for column, known in names.items()
        }
        yield {**row, **classes}


def _note_splits(name: str, commit: str | None, loaded: Mapping[str, Any]) -> None:
    addresses = [address for part in loaded.values() for address in _addresses(part)]
    _note(name, commit, addresses, _IN_ADDRESS)


def download_files(name: str, files: Sequence[str], revision: str | None = None) -> list[Path]:
    """Files of a data set on the hub as they lie there: they are read as data, no script beside them is run.

    `revision`: a commit, branch or tag; None: the newest.

    Raises:
        DataError: the hub's cache, which is asked alone without a connection, has another commit.
        Exception: whatever the hub's packages raise; `from_hub` makes one error of it.
    """
    from huggingface_hub import hf_hub_download

    commit = _reach(name, revision)
    paths = [Path(hf_hub_download(name, file, repo_type="dataset", **_at(commit))) for file in files]
    _note(name, commit, [path.as_posix() for path in paths], _IN_CACHE)
    return paths


def _reach(name: str, revision: str | None) -> str | None:
    """Ask the hub which commit a revision of a data set is, so that an unreachable hub is known of in seconds.

    Without a connection the revision is returned as it is.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return revision
    found = HfApi().dataset_info(name, timeout=HUB_TIMEOUT, **_at(revision))
    return getattr(found, "sha", None) or revision


def _at(revision: str | None) -> dict[str, Any]:
    return {} if revision is None else {"revision": revision}


def _addresses(split: Any) -> list[str]:
    """Where `datasets` says that a split comes from; empty where it does not."""
    return [str(address) for address in getattr(getattr(split, "info", None), "download_checksums", None) or ()]


def _note(name: str, asked: str | None, places: Sequence[str], pattern: re.Pattern[str]) -> None:
    """Note the commit that was loaded, by the places the data came from, or else the one the hub was asked for.

    Raises:
        DataError: a commit was asked for and another was loaded, which a cache may do without a connection.
    """
    from huggingface_hub import constants

    commit = asked if asked is not None and COMMIT.fullmatch(asked) else None
    loaded = next((match[1] for place in places if (match := pattern.search(place))), None)
    if commit is not None and loaded is not None and loaded != commit:
        raise DataError(
            f"{name}: expected its commit {commit}, and the hub's cache on this machine has {loaded}. Run once "
            "with a connection to the hub (without HF_HUB_OFFLINE), which loads that commit."
        )
    found = _loads.get()
    if found is not None:
        found.append(HubData(name, loaded or (None if constants.HF_HUB_OFFLINE else commit)))
