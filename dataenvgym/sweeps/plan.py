"""A sweep's file: a base config and lists of values, expanded into named episodes."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field, ValidationError

from dataenvgym.envs.config import Section
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.loading import is_file
from dataenvgym.graphs.config import EpisodeConfig, describe, parse_config
from dataenvgym.graphs.own_teacher import load_own

LOGS = "logs"
LONGEST_NAME = 120
# Values that may be paths: a worker runs in another folder, so they are made absolute.
PATHS = ("task.path", "skills", "teacher.prompts", "student.name")


class Resources(Section):
    """The Ray resources of one episode."""

    num_cpus: float = Field(1, ge=0, description="Processors per episode; torch gets as many threads.")
    num_gpus: float = Field(0, ge=0, description="GPUs per episode; a fraction shares one. 0: no GPU is visible.")
    custom: dict[str, float] = Field(default_factory=dict, description="Resources that nodes were started with.")


class Sweep(Section):
    """The content of a SWEEP.yaml."""

    base: dict[str, Any] | str | None = Field(
        None, description="The config that all episodes share: its keys, or a YAML file beside this one."
    )
    grid: dict[str, Any] = Field(
        default_factory=dict, description="Config keys with lists of values; every combination is an episode."
    )
    runs: list[dict[str, Any]] = Field(
        default_factory=list, description="Further grids, each expanded separately like `grid`."
    )
    resources: Resources = Field(default_factory=Resources, description="The Ray resources of one episode.")
    retries: int = Field(3, ge=0, description="How often Ray restarts an episode whose worker or node died.")


class Episode(NamedTuple):
    """One episode of a sweep. `settings`: the values that the sweep sets, in the order of the file."""

    name: str
    settings: dict[str, Any]
    config: EpisodeConfig


def load_sweep(path: Path) -> Sweep:
    """Load a sweep from a file, including the base's file.

    Raises:
        ConfigError: the file cannot be read, or a value has a wrong type.
        UnknownNameError: an unknown key; the text names the nearest.
    """
    data = _read(path)
    for key in data:
        if key not in Sweep.model_fields:
            raise UnknownNameError("key of a sweep", key, Sweep.model_fields)
    try:
        sweep = Sweep.model_validate(data)
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}" for e in error.errors()]
        raise ConfigError("\n".join([f"{path} is not a valid sweep:", *faults])) from None
    base = _read(path.parent / sweep.base) if isinstance(sweep.base, str) else sweep.base
    return sweep.model_copy(update={"base": base or {}})


def _read(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(loaded).__name__}")
    return loaded or {}


def dump_sweep(sweep: Sweep) -> str:
    """Write the sweep as self-contained YAML."""
    return yaml.safe_dump(sweep.model_dump(), sort_keys=False)


def combinations(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List every choice of one value per key, the last key changing fastest; a bare value is a list of one.

    Keys may be nested (`task: {name: [...]}`) or dotted (`task.name: [...]`).

    Raises:
        ConfigError: an empty list.
    """
    lists = dict(_flat(grid))
    for key, values in lists.items():
        if not values:
            raise ConfigError(f"{key}: an empty list leaves nothing to run")
    return [dict(zip(lists, chosen, strict=True)) for chosen in product(*lists.values())]


def _flat(grid: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, list[Any]]]:
    for key, value in grid.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, list) else [value]


def expand(sweep: Sweep) -> list[Episode]:
    """Expand a sweep into episodes, each with a checked config and a name; equal ones appear once.

    Raises:
        ConfigError: nothing to vary, or invalid configs; the text lists all of them.
        UnknownNameError: an unknown config key.
    """
    grids = [grid for grid in (sweep.grid, *sweep.runs) if grid]
    if not grids:
        raise ConfigError("the sweep has neither `grid` nor `runs`: there is nothing to vary. See docs/scaling.md")
    chosen = [settings for grid in grids for settings in combinations(grid)]
    known = {key for key, _, _ in describe()}
    for key in dict.fromkeys(key for settings in chosen for key in settings):
        if key not in known and not key.startswith("task.options."):  # options of the task, which checks them
            raise UnknownNameError("config key", key, known)
    configs: dict[str, tuple[dict[str, Any], EpisodeConfig]] = {}
    faults: list[str] = []
    for settings in chosen:
        try:
            config = _config(sweep, settings)
        except (ConfigError, UnknownNameError) as error:
            faults.append(f"{_format_settings(settings)}: {error}")
            continue
        configs.setdefault(config.model_dump_json(), (settings, config))
    if faults:
        more = f"\n... and {len(faults) - 5} more" if len(faults) > 5 else ""
        count = f"{len(faults)} of {len(chosen)} episodes have no valid config; nothing was started:"
        raise ConfigError("\n".join([count, *faults[:5]]) + more)
    names = _names([settings for settings, _ in configs.values()])
    return [Episode(name, *found) for name, found in zip(names, configs.values(), strict=True)]


def _config(sweep: Sweep, settings: Mapping[str, Any]) -> EpisodeConfig:
    data = copy.deepcopy(sweep.base) if isinstance(sweep.base, dict) else {}
    for key, value in settings.items():
        _put(data, key, value)
    for key in PATHS:
        value = value_at(data, key)
        if isinstance(value, str) and value not in ("auto", "gold", "llm") and Path(value).exists():
            if key == "student.name" and _is_registered(value):
                continue
            _put(data, key, str(Path(value).absolute()))
    if isinstance(data.get("imports"), list):
        data["imports"] = [str(Path(one).absolute()) if is_file(str(one)) else one for one in data["imports"]]
    config = parse_config(data, "the config")
    load_own(config)
    if config.approve:
        raise ConfigError("approve: a sweep runs without a person; set it to false")
    return config


def _is_registered(student: str) -> bool:
    from dataenvgym.envs.students import STUDENTS

    return student in STUDENTS


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.get(parent)
        if inner is None:
            inner = data[parent] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {parent!r} of the base holds a value, not keys")
        data = inner
    data[last] = value


def value_at(data: Any, key: str) -> Any:
    """Look up a dotted key in a mapping; None where it is missing."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def keys_of(episodes: Sequence[Episode]) -> list[str]:
    """List all keys that the sweep sets, in the order of the file."""
    return list(dict.fromkeys(key for episode in episodes for key in episode.settings))


def values_of(episode: Episode, keys: Sequence[str]) -> dict[str, Any]:
    """Look up the episode's values of the keys, also where the base sets them."""
    dumped = episode.config.model_dump()
    return {key: value_at(dumped, key) for key in keys}


def _format_settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())


def _names(chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Make a folder name per combination from its values alone, with a hash where two would be equal."""
    plain = ["-".join(_part(key, settings[key]) for key in sorted(settings, key=_is_seed)) for settings in chosen]
    times = Counter(name.lower() for name in [*plain, LOGS])
    return [
        f"{name[: LONGEST_NAME - 9]}-{_hash(settings)}"
        if times[name.lower()] > 1 or len(name) > LONGEST_NAME
        else name
        for name, settings in zip(plain, chosen, strict=True)
    ]


def _is_seed(key: str) -> bool:
    return key == "seed"


def _part(key: str, value: Any) -> str:
    if isinstance(value, str):
        text = Path(value).name if Path(value).is_absolute() else value
        return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "_"
    last = key.rpartition(".")[2]
    if key == "seed":
        return f"s{value}"
    text = _hash(value) if isinstance(value, list | dict) else str(value).lower()
    return f"{last}_{text}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]
