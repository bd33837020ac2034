"""What a model is, by its content: its answers and trainings are found again under it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.store import write_bytes
from dataenvgym.envs.students import weights
from dataenvgym.envs.types import Report

SMALL = 1 << 20


def model_identity(name: str, report: Report | None = None) -> str:
    """A folder's files by their content, or a hub id with the commit that it stands at.

    A path alone would name whatever lies there: a student made anew in the same folder would be given the
    answers of the one before. Digests of large files are kept, by what changes when a file does.

    Raises:
        MissingDependencyError: there is no such model of the hub, in its cache or to be downloaded.
    """
    folder = Path(name)
    if not folder.is_dir():
        from transformers import AutoConfig

        with weights.found(name):
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
    told = f"{path.resolve()}\0{stat.st_ino}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_size}"
    kept = cache_dir() / "digests" / hashlib.sha256(told.encode()).hexdigest()[:32]
    if stat.st_size > SMALL and kept.is_file():
        return kept.read_text()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size > SMALL:
        write_bytes(kept, found.encode())
    return found
