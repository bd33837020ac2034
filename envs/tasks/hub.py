"""Records of a benchmark from the hub, or from local files in their place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import DataEnvGymError, DataError, MissingDependencyError
from dataenvgym.envs.tasks.records import SPLITS, Record, Splits, read_local

HUB_TIMEOUT = 10.0
"""Seconds within which the hub must answer; the `datasets` package alone would retry for minutes."""


Source = TypeVar("Source")


Loaded = TypeVar("Loaded")


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
