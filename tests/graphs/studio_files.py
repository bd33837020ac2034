"""What tests read from a folder of Studio."""

import asyncio
from pathlib import Path
from typing import Any

from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Row

TEACHER = ["read_feedback", "plan_data", "approve_plan", "generate_data", "verify_data"]
SMALL: dict[str, Any] = {
    "task": {"val_size": 1, "test_size": 1},
    "student": {"name": "tiny", "generation": {"max_new_tokens": 4}},
    "budget": {"iterations": 1, "rows_per_iteration": 6},
}


def teach(graph: Any, given: Any, context: dict[str, Any] | None = None, **more: Any) -> Any:
    return asyncio.run(graph.ainvoke(given, context=context or {}, **more))


def rows_in(folder: str | Path, iteration: int = 1) -> list[Row]:
    return read_jsonl(sorted(Path(folder).glob(f"iterations/{iteration:03d}/accepted-*.jsonl"))[-1], Row)


def edited(plan: dict[str, Any], skill: str, count: int) -> dict[str, Any]:
    return {**plan, "requests": [{**plan["requests"][0], "skill": skill, "count": count}]}
