"""The cache folder: weights and predictions that any run may reuse, and locks for their creation."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree


def cache_dir() -> Path:
    """Return $DATAENVGYM_CACHE, else $XDG_CACHE_HOME/dataenvgym, else ~/.cache/dataenvgym."""
    if given := os.environ.get("DATAENVGYM_CACHE"):
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dataenvgym"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, created by `make(temporary folder)` unless it exists. A killed process leaves no folder.

    Of two processes that call this together, the second waits for the first.
    """
    if folder.is_dir():
        return folder
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            partial = folder.with_name(folder.name + ".partial")
            rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.replace(folder)
    return folder
