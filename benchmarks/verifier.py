"""What the checks catch: a scripted teacher told to err, its rows checked with and without `solve`.

    python benchmarks/verifier.py [--rows 1200]

The truth is known: the generators' problems can be solved, held-out questions listed, repeats seen. Prints a
Markdown table and, as its last line, one JSON object.
"""

import argparse
import asyncio
import json
from collections import Counter

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.contamination import HeldOut
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.checks.words import normalised
from dataenvgym.agents.config import ScriptedConfig, TeacherConfig, TeacherModelConfig
from dataenvgym.agents.data_generator import GenerationResult, generate
from dataenvgym.agents.feedback_reader import ErrorExample, Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.verifier import verify
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.curriculum import solve
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.types import DataRequest, Row

TEACHER = ScriptedConfig(wrong_answer=0.2, duplicate=0.15, copied=0.1, malformed=0.1)
FREE = ["format", "answer", "duplicate", "contamination"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1200)
    rows = parser.parse_args().rows
    task = load_task(TaskConfig(name="arithmetic"))
    skills = sorted({item.skill or "" for item in task.val})
    feedback = Feedback(
        iteration=1,
        structure="skill_list",
        state=True,
        budget=rows,
        accuracy=0.0,
        n=len(task.val),
        correct=0,
        errors=[
            ErrorExample(id=i.id, skill=i.skill or "", question=i.question, text="I do not know", gold=i.answer)
            for i in task.val
        ],
        skills=[],
        history=[],
        exemplars=[],
    )
    requests = [
        DataRequest(
            id=f"r{n}",
            skill=skill,
            count=rows // len(skills),
            exemplars=[i.id for i in task.val if i.skill == skill],
        )
        for n, skill in enumerate(skills)
    ]
    held = {normalised(item.question) for item in (*task.val, *task.test)}
    print("| checks | solver errs | copies of val or test | repeats | wrong answers | good rows dropped |")
    print("| --- | --- | --- | --- | --- | --- |")
    figures = {}
    for names, solver in ((FREE, 0.0), ([*FREE, "solve"], 0.0), ([*FREE, "solve"], 0.05), ([*FREE, "solve"], 0.1)):
        model = TeacherModelConfig(scripted=TEACHER.model_copy(update={"wrong_solution": solver}))
        config = TeacherConfig(llm=model, checks={"names": names})  # type: ignore[arg-type]
        client = TeacherClient(
            Gateway(config.llm, seed=0, cache=None, ledger=None), task.domain, config, "bench", 1
        )
        held_out = HeldOut([*task.val, *task.test], config.checks.overlap, task.domain.identity)
        context = CheckContext(task.domain, config.checks, held_out, AcceptedQuestions(0.9), client)
        made, kept = asyncio.run(taught(requests, feedback, client, context))
        kinds = kinds_of(made.rows, held)
        caught = Counter(kinds[row.id] for row in made.rows if row.id not in kept)
        total = Counter(kinds.values())
        cells = [f"{caught[kind]} of {total[kind]}" for kind in ("copy", "repeat", "wrong", "good")]
        label = "free" if names == FREE else "free and solve"
        print(f"| {label} | {solver:.0%} | {' | '.join(cells)} |")
        figures[f"{label}, solver errs {solver:g}"] = {
            kind: [caught[kind], total[kind]] for kind in ("copy", "repeat", "wrong", "good")
        }
        unusable = sum(not r.row.get("id") for r in made.failed)
    print(f"\n{len(made.rows)} rows in the last run; {unusable} broken replies or items recorded, none lost.\n")
    print(json.dumps(figures))


async def taught(
    requests: list[DataRequest], feedback: Feedback, client: TeacherClient, context: CheckContext
) -> tuple[GenerationResult, set[str]]:
    """The rows of one generation, and the ids of those that pass the checks."""
    made = await generate(requests, feedback, client, round_number=0, written=[], seed=0)
    found = await verify(made.rows, context)
    return made, {row.id for row in found.accepted}


def kinds_of(rows: list[Row], held: set[str]) -> dict[str, str]:
    """Row id -> copy, repeat, wrong or good, the first that fits."""
    seen: set[str] = set()
    kinds = {}
    for row in rows:
        question = normalised(row.question)
        wrong = str(solve(row.question)) != row.answer
        kinds[row.id] = (
            "copy" if question in held else "wrong" if wrong else "repeat" if question in seen else "good"
        )
        # A repeat of a row that was rejected as wrong is no repeat of anything that was kept.
        if kinds[row.id] == "good":
            seen.add(question)
    return kinds


if __name__ == "__main__":
    main()
