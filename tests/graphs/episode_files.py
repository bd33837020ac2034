"""What tests read from a finished episode."""

from pathlib import Path
from typing import Any

from dataenvgym.envs.store import read_jsonl
from dataenvgym.runs.run import Outcome


def summary_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.summary is not None
    return outcome.summary


def only(run_dir: Path, name: str, model: Any) -> Any:
    found = read_jsonl(run_dir / name, model)
    assert len(found) == 1
    return found[0]
