"""Files of a run: JSON and JSON lines, written atomically, and referenced by content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.types import Ref

Model = TypeVar("Model", bound=BaseModel)


def write_bytes(path: Path, data: bytes) -> None:
    """Write atomically (temporary name, fsync, rename): a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, indented for human readers."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file and its write-ahead log without opening it, which would write to its folder."""
    for ending in ("", "-wal"):
        if (path := source.with_name(source.name + ending)).is_file():
            shutil.copy2(path, target.with_name(target.name + ending))


class Store:
    """The run folder. Graph state carries `Ref`s into it; paths are relative, so a run can be moved."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Return the absolute path of a file of the run."""
        return self.root / name

    @staticmethod
    def iteration(number: int, name: str) -> str:
        """Return the relative path of a file of an iteration; iteration 0 is the base evaluation."""
        return f"iterations/{number:03d}/{name}"

    def save(self, name: str, items: Iterable[BaseModel]) -> Ref:
        """Write one JSON line per item and return the reference to the file."""
        lines = [item.model_dump_json() for item in items]
        data = "".join(line + "\n" for line in lines).encode()
        write_bytes(self.path(name), data)
        return Ref(path=name, count=len(lines), sha256=hashlib.sha256(data).hexdigest())

    def read(self, ref: Ref, model: type[Model]) -> list[Model]:
        """Read the items of a referenced file.

        Raises:
            RunFolderError: the file is missing, changed after it was referenced, or not of that schema.
        """
        path = self.path(ref["path"])
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be read ({error.strerror}); the run cannot continue") from error
        if hashlib.sha256(data).hexdigest() != ref["sha256"]:
            raise RunFolderError(
                f"{path}: the file was changed or damaged after it was written (its sha256 is not the recorded "
                f"{ref['sha256'][:12]}...). Restore it, or start a new run."
            )
        return list(_parse(path, data, model))


def read_jsonl(path: Path, model: type[Model]) -> list[Model]:
    """Read all items of a JSON-lines file.

    Raises:
        RunFolderError: it cannot be read, or a line is not of the schema.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror})") from error
    return list(_parse(path, data, model))


def _parse(path: Path, data: bytes, model: type[Model]) -> Iterator[Model]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            raise RunFolderError(f"{path}, line {number}: not a valid {model.__name__}: {error}") from error
