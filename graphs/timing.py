"""Seconds per phase, stored in the run folder so that they survive a resume."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

Phase = Literal["teach", "train", "evaluate", "setup"]
Node = TypeVar("Node", bound=Callable[..., Awaitable[Any]])

FILE = "timings.jsonl"


def timed(phase: Phase) -> Callable[[Node], Node]:
    """Record the duration of an async node of that phase when it finishes."""

    def wrap(node: Node) -> Node:
        @functools.wraps(node)
        async def run(state: Any, runtime: Any) -> Any:
            with measured(state["run_dir"], phase, node.__name__):
                return await node(state, runtime)

        return cast(Node, run)

    return wrap


@contextmanager
def measured(run_dir: str, phase: Phase, node: str) -> Iterator[None]:
    """Record the seconds of the block, unless it fails."""
    began = time.perf_counter()
    yield
    _record(Path(run_dir), phase, node, time.perf_counter() - began)


def _record(run_dir: Path, phase: Phase, node: str, seconds: float) -> None:
    with (run_dir / FILE).open("a") as file:
        file.write(json.dumps({"phase": phase, "node": node, "seconds": round(seconds, 3)}) + "\n")


def totals(run_dir: Path) -> dict[str, float]:
    """Sum the seconds per phase and in total; skip a line cut by a kill."""
    sums = {"teach": 0.0, "train": 0.0, "evaluate": 0.0, "setup": 0.0}
    path = run_dir / FILE
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            sums[entry["phase"]] += entry["seconds"]
        except (ValueError, KeyError, TypeError):
            continue
    return {**{k: round(v, 2) for k, v in sums.items()}, "total": round(sum(sums.values()), 2)}
