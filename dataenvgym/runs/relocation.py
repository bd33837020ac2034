"""A run folder that was copied or moved: its checkpoints name the folder that it is in now.

The state of an episode holds the run's folder, for the nodes and for teachers of the user. So that a copy touches
nothing of its original, the folder is put right in the copy's own checkpoints before it goes on.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

KEY = "run_dir"
STATEMENTS = (
    (
        "checkpoints",
        "SELECT rowid, '', type, checkpoint FROM checkpoints",
        "UPDATE checkpoints SET type = ?, checkpoint = ? WHERE rowid = ?",
    ),
    (
        "writes",
        "SELECT rowid, channel, type, value FROM writes",
        "UPDATE writes SET type = ?, value = ? WHERE rowid = ?",
    ),
)
"""Of LangGraph's tables: how their values are read, with the channel that they are of, and written."""


def relocate(checkpoints: Path, run_dir: Path) -> None:
    """Put `run_dir` into the state of every checkpoint, if they name another folder. All or nothing is written."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    if not checkpoints.is_file():
        return
    serde, here = JsonPlusSerializer(), str(run_dir)
    with closing(sqlite3.connect(checkpoints)) as database, database:
        for table, select, update in STATEMENTS:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                continue
            for row, channel, kind, blob in database.execute(select).fetchall():
                if blob is None or (channel != KEY and KEY.encode() not in blob):
                    continue
                value = serde.loads_typed((kind, blob))
                moved = here if channel == KEY else _moved(value, here)
                if moved != value:
                    database.execute(update, (*serde.dumps_typed(moved), row))


def _moved(value: Any, here: str) -> Any:
    """The value with `here` for every folder in it."""
    if isinstance(value, dict):
        return {
            key: here if key == KEY and isinstance(one, str) else _moved(one, here) for key, one in value.items()
        }
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_moved(one, here) for one in value)
    return value
