"""What the data of a task are known by: of each split the number of instances and a hash of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.types import Instance

SPLITS = ("train", "val", "test")


class SplitPrint(TypedDict):
    """How many instances a split has, and the sha256 of their ids, questions, golds and all else, in order."""

    count: int
    sha256: str


def fingerprint(task: Task) -> dict[str, SplitPrint]:
    """The fingerprint of each split, equal on any machine and wherever the files lie."""
    return {split: _of(getattr(task, split)) for split in SPLITS}


def _of(instances: tuple[Instance, ...]) -> SplitPrint:
    found = hashlib.sha256()
    for item in instances:
        content = item.model_dump() | {"extra": {key: _content(value) for key, value in item.extra.items()}}
        found.update(json.dumps(content, sort_keys=True, default=str).encode() + b"\n")
    return {"count": len(instances), "sha256": found.hexdigest()}


def _content(value: Any) -> Any:
    """A value of `extra`; of content that lies in a file (`{"file", "sha256", ...}`) its hash, not its place."""
    return value["sha256"] if isinstance(value, Mapping) and {"file", "sha256"} <= value.keys() else value
