"""The folder of a run: create, open, check and lock it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import ConfigError, RunFolderError, is_full
from dataenvgym.envs.store import Store, write_bytes, write_json
from dataenvgym.envs.types import Plan
from dataenvgym.graphs.config import CONFIG_FILE, EpisodeConfig, dump_config, load_config
from dataenvgym.graphs.own_teacher import fingerprints
from dataenvgym.runs.data import DATA, entry, pin
from dataenvgym.runs.manifest import MANIFEST, provenance

CHECKPOINTS, SUMMARY = "checkpoints.sqlite", "summary.json"
EXTENSIONS = "budget.json"
TEACHERS = "teachers"
"""Entry of the manifest: the fingerprints of the run's own teacher and policy, those that it has now last."""


def create(config: EpisodeConfig, out: Path | None, *, teacher: Any = None) -> Path:
    """Create a run folder with config.yaml and manifest.json.

    `teacher`: a teacher given from Python, which no file can store; `resume` needs it again.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.task.name}-{config.structure}-s{config.seed}"
    run_dir = out or _free(Path("runs") / name)
    check_free(run_dir)
    try:
        begin(config, run_dir, {"own_teacher": teacher is not None}, teacher)
    except OSError as error:
        raise RunFolderError(f"{run_dir} cannot be created ({error.strerror}); name another with --out") from error
    return run_dir


def _free(run_dir: Path) -> Path:
    """The folder, or the first of `<folder>-2`, `<folder>-3`, ... that does not exist: two may begin at once."""
    others = (run_dir.with_name(f"{run_dir.name}-{number}") for number in count(2))
    return run_dir if not run_dir.exists() else next(one for one in others if not one.exists())


def begin(config: EpisodeConfig, run_dir: Path, notes: Mapping[str, Any], teacher: Any = None) -> None:
    """Write the files that make a folder a run: manifest.json, including `notes`, then config.yaml.

    The task's data are loaded; their fingerprints are in the manifest, their commit on the hub in the config.
    `teacher`: one given from Python; its fingerprint, or that of the teacher that the config names, is stored too.
    """
    config = pin(config)
    text = dump_config(config)
    known = {DATA: entry(config), TEACHERS: [fingerprints(config, teacher)]}
    write_json(run_dir / MANIFEST, {**provenance(config.seed, text), **known, **notes})
    write_bytes(run_dir / CONFIG_FILE, text.encode())


def check_free(run_dir: Path) -> None:
    """Refuse a folder that cannot hold a new run, with a RunFolderError."""
    if (run_dir / CONFIG_FILE).exists():
        raise RunFolderError(f"{run_dir} already holds a run. Continue it: dataenvgym resume {run_dir}")
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise RunFolderError(f"{run_dir} exists and is not empty; name another folder with --out")


def open_run(run_dir: Path) -> EpisodeConfig:
    """Load the config of an existing run, and check that it is the one that the run was started with."""
    if not (run_dir / CONFIG_FILE).is_file():
        raise RunFolderError(f"{run_dir} is not a run: it has no {CONFIG_FILE}")
    manifest = read_manifest(run_dir)
    recorded = manifest["config_sha256"]
    if (manifest.get("fork") or {}).get("plan"):
        Store(run_dir).read(manifest["fork"]["plan"], Plan)  # refuses a changed plan
    text = (run_dir / CONFIG_FILE).read_text()
    if hashlib.sha256(text.encode()).hexdigest() != recorded:
        raise RunFolderError(
            f"{run_dir / CONFIG_FILE} was changed after the run was started, so its rows and scores belong to "
            "another config. Restore it, or start a new run with the changed config."
        )
    try:
        return load_config(run_dir / CONFIG_FILE, extensions(run_dir))
    except ConfigError as error:
        raise RunFolderError(f"{run_dir} was made with another version of dataenvgym: {error}") from error


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """Read manifest.json of a run: versions, seed, the sha256 of its config, the parent of a fork.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    try:
        manifest = json.loads((run_dir / MANIFEST).read_text())
        return {**manifest, "config_sha256": manifest["config_sha256"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{run_dir / MANIFEST} is missing or damaged; the run cannot be resumed") from error


def check_teacher(run_dir: Path, config: EpisodeConfig, teacher: Any = None, changed: bool = False) -> None:
    """Refuse to go on with another teacher than the run has; with `changed`, note the new one in the manifest.

    Raises:
        RunFolderError: the teacher's or the policy's files or wiring are not those of the run.
    """
    if not (other := changed_parts(run_dir, config, teacher)):
        return
    if not changed:
        raise RunFolderError(
            f"{run_dir}: {' and '.join(other)} has changed since the run was started, so its rows would come from "
            "two teachers. Restore it, or go on with the new one, which the manifest then notes: "
            "--changed-teacher (in Python: changed_teacher=True)"
        )
    manifest = read_manifest(run_dir)
    now = fingerprints(config, teacher)
    write_json(run_dir / MANIFEST, {**manifest, TEACHERS: [*manifest[TEACHERS], now]})


def changed_parts(run_dir: Path, config: EpisodeConfig, teacher: Any = None) -> list[str]:
    """Name the teacher and the policy that have changed since the run began. An older run does not tell."""
    known, now = read_manifest(run_dir).get(TEACHERS), fingerprints(config, teacher)
    if known is None:  # an older run
        return []
    names = {"graph": config.teacher.graph or "its own teacher", "policy": config.teacher.policy}
    return [str(names[key]) for key in sorted({*known[-1], *now}) if known[-1].get(key) != now.get(key)]


def extensions(run_dir: Path) -> list[str]:
    """Read the `key=value` texts given to `extend` so far."""
    path = run_dir / EXTENSIONS
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error}); delete it to use the first budget") from error
    return [str(text) for text in found]


def progress(run_dir: Path) -> int:
    """How far a run is: the number of its checkpoints."""
    path = run_dir / CHECKPOINTS
    if not path.is_file():
        return 0
    try:
        with closing(sqlite3.connect(path)) as database:
            return int(database.execute("SELECT count(*) FROM checkpoints").fetchone()[0])
    except sqlite3.DatabaseError:
        return 0


@contextmanager
def kept_unless_it_goes_on(run_dir: Path, name: str) -> Iterator[None]:
    """Give a file of the run its content of before where the block fails and the run has no new checkpoint."""
    file, before = run_dir / name, progress(run_dir)
    content = file.read_bytes() if file.is_file() else None
    try:
        yield
    except BaseException:
        if progress(run_dir) == before:
            file.unlink(missing_ok=True) if content is None else write_bytes(file, content)
        raise


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Lock the run against other processes during the block, or refuse with a RunFolderError."""
    from filelock import FileLock, Timeout

    if not run_dir.is_dir():
        raise RunFolderError(f"{run_dir} is not a run: there is no such folder")
    try:
        with FileLock(run_dir / ".lock", timeout=0):
            yield
    except Timeout:
        raise RunFolderError(f"{run_dir} is being run by another process") from None


@contextmanager
def readable(checkpoints: Path) -> Iterator[None]:
    """Report a damaged checkpoint file with its name, which SQLite's error lacks."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_full(error):
            raise
        raise RunFolderError(f"{checkpoints} is damaged ({error}); the run cannot be resumed") from error


def read_summary(run_dir: Path) -> dict[str, Any] | None:
    """Read summary.json of a run; None while the run has not finished.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = run_dir / SUMMARY
    if not path.is_file():
        return None
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise RunFolderError(
            f"{path} is damaged ({error}). Delete it and write it again: dataenvgym resume {run_dir}"
        ) from error
    if not isinstance(summary, dict):
        raise RunFolderError(
            f"{path} is damaged: it is no object. Delete it and resume: dataenvgym resume {run_dir}"
        )
    return summary
