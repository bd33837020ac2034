"""Identify a model by its content, as part of the key of its answers and trainings."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.store import write_bytes
from dataenvgym.envs.students import weights
from dataenvgym.envs.types import Report

SMALL = 1 << 20


def model_identity(name: str, report: Report | None = None) -> str:
    """Return a digest of a folder's files, or a hub id with its commit.

    A path alone is not enough: a new student in the same folder would get the cached answers of the previous one.
    Digests of large files are cached by path, inode, times and size.

    Raises:
        MissingDependencyError: the hub has no such model, or it is neither cached nor downloadable.
    """
    folder = Path(name)
    if not folder.is_dir():
        from transformers import AutoConfig

        with weights.explain_missing(name):
            return f"{name}@{getattr(AutoConfig.from_pretrained(name), '_commit_hash', None)}"
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    digest = hashlib.sha256()
    for number, path in enumerate(files, 1):
        digest.update(f"{path.name}\0{_digest(path)}\n".encode())
        if report:
            report("files of the student", number, len(files))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    stat = path.stat()
    key = f"{path.resolve()}\0{stat.st_ino}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_size}"
    kept = cache_dir() / "digests" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if stat.st_size > SMALL and kept.is_file():
        return kept.read_text()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size > SMALL:
        write_bytes(kept, found.encode())
    return found
