"""The data of a run by their content: recorded in its manifest, and compared before it goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.store import Store
from dataenvgym.envs.tasks import Task, pinned
from dataenvgym.envs.tasks.fingerprint import fingerprint
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.resources import task_of

DATA = "data"
"""The key of the manifest; `{"hub": name or null, "revision": commit or null, "splits": fingerprints}`."""
# Predictions that hold the questions and golds of a split as they were.
SEEN = {"val": Store.iteration(0, "predictions.jsonl"), "test": "test/base.jsonl"}


def pin(config: EpisodeConfig) -> EpisodeConfig:
    """The config with the commit of its data on the hub, which is loaded again whatever the hub has by then."""
    task = pinned(config.task, task_of(config))
    return config if task == config.task else config.model_copy(update={"task": task})


def entry(config: EpisodeConfig) -> dict[str, Any]:
    """What the manifest says of the data that the config's task loads now."""
    task = task_of(config)
    name, revision = task.hub or (None, None)
    return {"hub": name, "revision": revision, "splits": fingerprint(task)}


def check_data(run_dir: Path, config: EpisodeConfig, manifest: Mapping[str, Any]) -> str | None:
    """Compare the data of now with those that the run was started on.

    Returns:
        None where they are the same, else a note: the run is of a version that recorded none.

    Raises:
        RunFolderError: other data; the text names the splits, the counts, the first other instance.
    """
    recorded = manifest.get(DATA)
    if not recorded:
        return (
            "the data of this run were not recorded when it was started, so it is not known whether they are "
            "still the same"
        )
    task, now = task_of(config), entry(config)
    changed = other_splits(recorded, now)
    if not changed:
        return None
    lines = [f"  {split}: {_difference(run_dir, split, recorded, now, task)}" for split in changed]
    raise RunFolderError(
        "\n".join(
            [
                f"{run_dir} was started on other data of task {config.task.name!r}, so its scores cannot be "
                "compared with new ones:",
                *lines,
                _advice(config, recorded, now, manifest),
            ]
        )
    )


def other_splits(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The splits in which two entries of manifests differ."""
    return [split for split, found in now["splits"].items() if before["splits"].get(split) != found]


def counts(
    before: Mapping[str, Any], now: Mapping[str, Any], split: str, called: tuple[str, str] = ("then", "now")
) -> str:
    """How many instances of a split two entries of manifests have, in words. `called`: the words for the two."""
    was, found = (one["splits"].get(split, {}).get("count", 0) for one in (before, now))
    if was != found:
        return f"{was} instances {called[0]}, {found} {called[1]}"
    return f"{was} instances {called[0]} and {called[1]}, not the same"


def _difference(run_dir: Path, split: str, before: Mapping[str, Any], now: Mapping[str, Any], task: Task) -> str:
    first = _first_other(run_dir, split, task)
    return counts(before, now, split) + (f"; the first that differs: {first}" if first else "")


def _first_other(run_dir: Path, split: str, task: Task) -> str | None:
    """The id of the first instance with another question or gold than in the run's own predictions."""
    if split not in SEEN:
        return None
    try:
        seen = [json.loads(line) for line in (run_dir / SEEN[split]).read_text(encoding="utf-8").splitlines()]
        then = [(item["id"], item["question"], item["gold"]) for item in seen]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    now = [(item.id, item.question, item.answer) for item in getattr(task, split)]
    return next((str((b or a)[0]) for a, b in zip_longest(then, now) if a != b), None)


def _advice(
    config: EpisodeConfig, before: Mapping[str, Any], now: Mapping[str, Any], manifest: Mapping[str, Any]
) -> str:
    """What to do, by where the data come from."""
    if config.task.path is not None:
        return f"Restore {config.task.path} as it was, or start a new run on the data of now."
    if now["hub"] is not None or before["hub"] is not None:
        was, found = (f"{one['hub']} at {one['revision'] or 'an unknown commit'}" for one in (before, now))
        return f"The run has {was}; loaded was {found}. Start a new run with the commit you mean as task.revision."
    made = (manifest.get("packages") or {}).get("dataenvgym")
    return (
        f"The task makes its data itself, and now makes others than when the run was started (with dataenvgym "
        f"{made}; the manifest names all versions). Use those versions again, or start a new run."
    )
