"""A small SQLite store of replies with valid items, so that a repeated identical call costs nothing."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dataenvgym.envs.errors import RunFolderError, is_full


class CachedReply(NamedTuple):
    """The valid item values of a reply, the tokens it cost, and what was not valid in it: (text, reason)."""

    values: list[dict[str, Any]]
    prompt_tokens: int | None
    completion_tokens: int | None
    failures: Sequence[Sequence[str]] = ()


def cache_key(**parts: Any) -> str:
    """sha256 over named JSON values; every part that can change the reply must be among them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class ResponseCache:
    """Replies by key. Safe for threads and for several processes on one file."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            RunFolderError: the file is not a cache or cannot be opened.
        """
        self._lock, self._path = threading.Lock(), path
        try:
            # One connection behind a lock: calls are few and short beside a model's reply.
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise _damaged(path, error) from error

    def get(self, key: str) -> CachedReply | None:
        """Return the reply stored under `key`, or None."""
        found = self._execute("SELECT reply FROM replies WHERE key = ?", (key,))
        return CachedReply(*json.loads(found[0])) if found else None

    def put(self, key: str, reply: CachedReply) -> None:
        """Store a reply. The first one under a key stays, so that repeated reads agree."""
        self._execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", (key, json.dumps(reply)))

    def _execute(self, statement: str, values: tuple[str, ...]) -> tuple[str, ...] | None:
        try:
            with self._lock:
                row: tuple[str, ...] | None = self._db.execute(statement, values).fetchone()
        except sqlite3.DatabaseError as error:
            if is_full(error):
                raise
            raise _damaged(self._path, error) from error
        return row

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def _damaged(path: Path, error: sqlite3.Error) -> RunFolderError:
    return RunFolderError(f"response cache {path}: {error}. Delete the file to start with an empty cache.")
