"""How many answers the student gave, and how many came from the cache, stored in the run folder."""

from __future__ import annotations

import json
from pathlib import Path

FILE = "answers.jsonl"


def record(run_dir: Path, asked: int, cached: int) -> None:
    """Add a set of `asked` answers, `cached` of which came from the cache."""
    with (run_dir / FILE).open("a") as file:
        file.write(json.dumps({"asked": asked, "cached": cached}) + "\n")


def totals(run_dir: Path) -> dict[str, int]:
    """Sum the sets, those that a resumed run asked for again included; skip a line cut by a kill."""
    sums = {"asked": 0, "cached": 0}
    path = run_dir / FILE
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            sums = {key: total + int(entry[key]) for key, total in sums.items()}
        except (ValueError, KeyError, TypeError):
            continue
    return sums
