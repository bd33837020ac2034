"""A filter that asks the student: in skills of which it answers many new rows, only the others are trained on.

python examples/teachers/difficulty_filter.py
cd examples/teachers
dataenvgym run --teacher difficulty_filter.py:graph --set structure=skill_list --set student.name=tiny
"""

import asyncio

import dataenvgym
from dataenvgym import student_scores
from dataenvgym.envs.types import Rejected, Verdict
from dataenvgym.graphs.files import generated_of, rejected_of, save

LEAST = 0.25
"""Of a skill on whose new rows the student is right more often than this, those rows are dropped."""


async def drop_easy(state, runtime):
    """Reject the new rows that the student answers, in skills where it answers many."""
    rows = await asyncio.to_thread(generated_of, state)
    scores = await student_scores(runtime, state, rows)
    right = {}
    for row, score in zip(rows, scores, strict=True):
        right.setdefault(row.skill, []).append(score.correct)
    easy = {skill for skill, found in right.items() if sum(found) / len(found) > LEAST}
    known = [row for row, score in zip(rows, scores, strict=True) if score.correct and row.skill in easy]
    verdict = Verdict(check="difficulty", passed=False, reason="the student answers it, as many of its skill")
    rejected = [*rejected_of(state), *(Rejected(row=row.model_dump(), verdicts=[verdict]) for row in known)]
    turn = state["round"]
    return {
        "generated": await asyncio.to_thread(
            save, state, f"hard-{turn}", [row for row in rows if row not in known]
        ),
        "rejected": await asyncio.to_thread(save, state, f"rejected-{turn}-easy", rejected),
    }


graph = dataenvgym.build_teacher("skill_list")
dataenvgym.insert_after(graph, "generate_data", "drop_easy", drop_easy)

if __name__ == "__main__":
    small = ["structure=skill_list", "student.name=tiny", "task.val_size=2", "task.test_size=2"]
    config = dataenvgym.load_config(None, [*small, "budget.iterations=1", "budget.rows_per_iteration=12"])
    outcome = dataenvgym.run(config, teacher=graph)
    print(outcome.run_dir, outcome.summary["rows_accepted"], "rows accepted")
