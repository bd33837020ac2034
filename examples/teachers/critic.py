"""A critic with a prompt of its own between generator and verifier; what it drops is written anew.

python examples/teachers/critic.py
cd examples/teachers
dataenvgym run --teacher critic.py:graph --prompts prompts --set structure=skill_list --set student.name=tiny
"""

import asyncio
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

import dataenvgym
from dataenvgym import ask
from dataenvgym.envs.types import Rejected, Verdict
from dataenvgym.graphs.files import generated_of, rejected_of, save

PROMPTS = Path(__file__).parent / "prompts"
AT_ONCE = 10


class Remark(BaseModel):
    """What the critic says of one row."""

    id: str
    verdict: Literal["keep", "drop"]
    reason: str


async def criticise(state, runtime):
    """Drop what the critic drops. The missing rows are asked for in the next refill round."""
    rows = await asyncio.to_thread(generated_of, state)
    parts = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    shown = [[row.model_dump(include={"id", "question", "solution", "answer"}) for row in part] for part in parts]
    found = await asyncio.gather(*(ask(runtime, state, "critic", Remark, rows=part) for part in shown))
    dropped = {remark.id: remark.reason for part in found for remark in part if remark.verdict == "drop"}
    rejected = [
        Rejected(row=row.model_dump(), verdicts=[Verdict(check="critic", passed=False, reason=dropped[row.id])])
        for row in rows
        if row.id in dropped
    ]
    turn, earlier = state["round"], await asyncio.to_thread(rejected_of, state)
    kept = [row for row in rows if row.id not in dropped]
    return {
        "generated": await asyncio.to_thread(save, state, f"kept-{turn}", kept),
        "rejected": await asyncio.to_thread(save, state, f"rejected-{turn}-critic", [*earlier, *rejected]),
    }


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(graph, "generate_data", "criticise", criticise)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    budget = ["budget.iterations=1", "budget.rows_per_iteration=12", f"teacher.prompts={PROMPTS}"]
    outcome = dataenvgym.run(dataenvgym.load_config(None, [*small, *budget]), teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
