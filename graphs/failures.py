"""What went wrong inside a teacher's node, in words: the node, the line of the user's code, and nothing of what
lies between."""

from __future__ import annotations

import re
import sys
import sysconfig
import traceback
from pathlib import Path

from dataenvgym.envs.errors import (
    BudgetReachedError,
    DataEnvGymError,
    StudentError,
    TeacherError,
    TrainingError,
    is_full,
)

_NODE = re.compile(r"During task with name '(.*?)' and id")
_BESIDE = re.compile(r"At key '(.*?)': Can receive only one value per step")
_PARTS = ("dataenvgym", "dataenvgym.agents", "dataenvgym.envs", "dataenvgym.graphs", "dataenvgym.prompts")


def told(error: BaseException) -> TeacherError | None:
    """Put an exception of a teacher's graph into words; None for one that did not come from the user's code.

    Reaching a cap, a full disk, a student's failure and the project's own errors outside of the user's code stay
    what they are.
    """
    from langgraph.errors import GraphBubbleUp, GraphRecursionError, InvalidUpdateError

    kept = BudgetReachedError | TrainingError | StudentError | GraphBubbleUp | GraphRecursionError
    if isinstance(error, kept) or is_full(error):
        return None
    if isinstance(error, InvalidUpdateError):
        return TeacherError(_update(error))
    lines = [
        f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _own(frame.filename)
    ]
    if not lines:
        return None
    what = str(error) if isinstance(error, DataEnvGymError) else f"{type(error).__name__}: {error}".rstrip(": ")
    return TeacherError("\n  ".join([f"node {_node(error)!r} failed: {what}", *lines]))


def _node(error: BaseException) -> str:
    """The innermost node that LangGraph notes."""
    notes = [found[1] for note in getattr(error, "__notes__", []) if (found := _NODE.search(note))]
    return notes[0] if notes else "teach"


def _update(error: Exception) -> str:
    text = str(error).partition("\nFor troubleshooting")[0]
    if found := _BESIDE.search(text):
        return (
            f"two nodes that run side by side both write {found[1]!r}. Give each a key of its own (for a planner: "
            "planner(policy, key=...)) and let a later node choose"
        )
    return f"node {_node(error)!r}: {text}"


def _own(file: str) -> bool:
    """Whether a file is the user's: no part of the project, of Python or of an installed package."""
    path = Path(file)
    if not path.is_absolute() or "site-packages" in path.parts or "dist-packages" in path.parts:
        return False
    ours = [Path(folder) for name in _PARTS if name in sys.modules for folder in sys.modules[name].__path__]
    library = Path(sysconfig.get_path("stdlib"))
    return not any(
        path.is_relative_to(folder.resolve()) or path.is_relative_to(folder) for folder in [*ours, library]
    )
