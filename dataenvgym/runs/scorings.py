"""How often the private test of a run was scored, and after what: each look may have steered what came next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.envs.store import write_json

SCORINGS = "test/scored.json"
TEST_SCORED = "test_scored"
"""The key of summary.json, and of `fork` in the manifest."""


def scorings(run_dir: Path) -> list[dict[str, Any]]:
    """List the scorings of a run folder, the first first.

    Each has `iterations` and `rows` (accepted) so far, `best_iteration`, and `predictions`, the sha256 of
    test/best.jsonl. Those of the run that this one was forked from have its folder as `run`.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = run_dir / SCORINGS
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
        return [{**one} for one in found]
    except (ValueError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged ({error}); restore it from a copy, or delete it") from error


def add(run_dir: Path, scored: Mapping[str, Any], *, again: bool = False) -> list[dict[str, Any]]:
    """Add a scoring, unless it is there (`again`: even then), and list all."""
    found = scorings(run_dir)
    if again or scored not in found:
        found.append(dict(scored))
        write_json(run_dir / SCORINGS, found)
    return found


def with_scorings(run_dir: Path, summary: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a run that has ended, with all scorings, its own the last, under `test_scored`."""
    earlier = (manifest.get("fork") or {}).get(TEST_SCORED) or []
    best = run_dir / "test" / "best.jsonl"
    scored = {
        "iterations": summary["iterations"],
        "rows": summary["rows_accepted"],
        "best_iteration": summary["best_iteration"],
        "predictions": hashlib.sha256(best.read_bytes()).hexdigest() if best.is_file() else None,
    }
    return {**summary, TEST_SCORED: [*earlier, *add(run_dir, scored)]}


def inherited(
    run_dir: Path, summary: Mapping[str, Any] | None, manifest: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The scorings of a run that a fork of it starts with. `summary`: of the run, None if it has not ended.

    The run is only read.
    """
    earlier = (manifest.get("fork") or {}).get(TEST_SCORED) or []
    own = scorings(run_dir)
    if not own and summary is not None:  # of a version that kept no record
        keys = ("iterations", "best_iteration")
        own = [{**{key: summary[key] for key in keys}, "rows": summary["rows_accepted"], "predictions": None}]
    return [*earlier, *({**one, "run": str(run_dir.absolute())} for one in own)]


def said(scored: Sequence[Mapping[str, Any]]) -> str:
    """How often the test was scored, in words."""
    if len(scored) == 1:
        return "the private test was scored once"
    ends = ", ".join(
        f"{one['iterations']} iterations and {one['rows']} rows"
        + (f" of {Path(one['run']).name}" if "run" in one else "")
        for one in scored
    )
    return (
        f"the private test was scored {len(scored)} times, after {ends}: whoever went on because of an earlier "
        "score has used the test to choose"
    )
