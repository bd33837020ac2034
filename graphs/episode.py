"""The episode: reset -> teach -> train -> evaluate -> teach ... -> finish."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.skill_discovery import discover_skills, gold_skills
from dataenvgym.envs.errors import BudgetReachedError, ConfigError, DivergedError, RunFolderError
from dataenvgym.envs.evaluation import accuracy
from dataenvgym.envs.observation import Lesson, Observation
from dataenvgym.envs.store import Store, write_bytes, write_json
from dataenvgym.envs.tasks import TASKS
from dataenvgym.envs.types import Plan, Prediction, Ref, Report, Row
from dataenvgym.graphs.compose import compiled
from dataenvgym.graphs.config import CONFIG_FILE, EpisodeConfig, Structure, config_for, dump_config
from dataenvgym.graphs.contract import check_delivery
from dataenvgym.graphs.resources import (
    env_of,
    gateway_of,
    gateways_of,
    in_student_thread,
    spending_of,
    stream_reporter,
    task_of,
)
from dataenvgym.graphs.state import EpisodeInput, EpisodeState, Step, given
from dataenvgym.graphs.summary import best_step, summarise
from dataenvgym.graphs.teacher import build_teacher
from dataenvgym.graphs.timing import measured, timed

Context = Runtime[EpisodeConfig]
Write = Callable[[Any], None]

SKILLS = "skills.json"
KNOWN = "known.json"  # by row id: whether the student that training starts from would have written it
ROW_ANSWERS = "row_answers.jsonl"
PROMPT = "prompt.txt"
"""The prompt of the first val instance, as the student's model gets it."""
# The keys whose defaults an episode names in its state, where nobody has set them.
MAIN_KEYS = (
    "task.name",
    "student.name",
    "teacher.llm.model",
    "budget.iterations",
    "budget.rows_per_iteration",
    "seed",
)


async def reset(state: EpisodeState, runtime: Context) -> EpisodeState:
    """Prepare the student, find the skill of each val instance, evaluate the base on val."""
    config = runtime.context
    run_dir = given(state, "run_dir", str, "the path of a folder, as text") or _own_folder(runtime)
    await asyncio.to_thread(_keep_config, config, Path(run_dir))
    write = runtime.stream_writer
    write({"event": "phase", "name": "reset"})

    with measured(run_dir, "setup", "reset"):
        for gateway in await asyncio.to_thread(gateways_of, config, run_dir):
            await gateway.ready()
        env = await in_student_thread(lambda: env_of(config, run_dir, stream_reporter(write)))
        await in_student_thread(lambda: write_bytes(Path(run_dir) / PROMPT, env.shown(env.task.val[0]).encode()))
        notes = [*_config_notes(config), *env.task.all_notes()]
        for note in notes:
            write({"event": "note", "text": note})
        skills = await find_skills(config, run_dir, stream_reporter(write))
        await asyncio.to_thread(write_json, Path(run_dir) / SKILLS, skills)
    with measured(run_dir, "evaluate", "reset"):
        found = await _evaluate({**state, "run_dir": run_dir}, runtime, iteration=0, student=None)
    taken = [] if state.get("run_dir") else [f"run_dir was not given: the files are in {run_dir}"]
    return {**found, "run_dir": run_dir, "notices": [*taken, *_defaults_taken(config), *notes]}


def _own_folder(runtime: Context) -> str:
    """Name a folder for an episode without one, as in Studio: the same when the node runs again in its thread."""
    info = runtime.execution_info
    name = (info.thread_id or info.checkpoint_id) if info else "episode"
    return f"runs/studio/{re.sub(r'[^A-Za-z0-9_-]', '-', name)}"


def _defaults_taken(config: EpisodeConfig) -> list[str]:
    """Name the keys of `MAIN_KEYS` that were not set, with their values. Studio's form may be left empty."""
    taken = []
    for key in MAIN_KEYS:
        value: Any = config
        given = True
        for part in key.split("."):
            given = given and part in value.model_fields_set
            value = getattr(value, part)
        if not given:
            taken.append(f"{key} {value}")
    return [f"defaults taken, since the context does not set them: {', '.join(taken)}"] if taken else []


async def reset_of_standard(state: EpisodeState, runtime: Context) -> EpisodeState:
    """The node `reset` of an episode with the structure's own teacher; it refuses a config that names another."""
    if (name := runtime.context.teacher.graph) is not None:
        raise ConfigError(
            f"teacher.graph: this episode has the teacher of its structure, not {name}, and loads no code for a "
            f"config that comes over the network. For Studio: dataenvgym studio {name}"
        )
    return await reset(state, runtime)


def _config_notes(config: EpisodeConfig) -> list[str]:
    """What the config asks for and does not get."""
    wanted, used = config.teacher.policy, config.policy_name()
    if config.state or wanted in (None, used):
        return []
    return [f"state: false has a policy of its own, {used!r}; teacher.policy {wanted!r} is not used"]


def _keep_config(config: EpisodeConfig, run_dir: Path) -> None:
    """Write the config into the run folder. The command line has already done so; an episode in Studio has not."""
    run_dir.mkdir(parents=True, exist_ok=True)
    if not (run_dir / CONFIG_FILE).is_file():
        write_bytes(run_dir / CONFIG_FILE, dump_config(config).encode())


@timed("train")
async def train(state: EpisodeState, runtime: Context) -> EpisodeState:
    """Train the student on the rows so far, unless the same training is already on disk.

    A training that diverges would diverge again: the last good student stays, and the episode ends after its
    evaluation. Failures of the machine (memory, a killed process) are raised, and `resume` repeats the training.
    """
    config, run_dir = runtime.context, state["run_dir"]
    write = runtime.stream_writer
    write({"event": "phase", "name": "train", "iteration": state["iteration"]})
    parent = state.get("student")

    def work() -> tuple[str | None, str | None]:
        store = Store(Path(run_dir))
        seen = store.read(state["observation"], Observation)[0]
        last = check_delivery(state, seen, before=state["steps"][-1])
        rows = [*(store.read(ref, Row) for ref in state["earlier"]), last]
        if not last:
            return parent, None  # nothing new to learn
        env = env_of(config, run_dir)
        try:
            student = env.train(rows, parent, stream_reporter(write))
        except DivergedError as error:
            return parent, f"the training of iteration {state['iteration']} diverged: {error}"
        known = env.known(rows, parent, student)
        write_json(store.path(Store.iteration(state["iteration"], KNOWN)), known)
        if student is not None and student != parent:
            write({"event": "trained", "iteration": state["iteration"], **env.training(student)})
        return student, None

    student, stop = await in_student_thread(work)
    return {"student": student, "stop_reason": stop}


@timed("evaluate")
async def evaluate(state: EpisodeState, runtime: Context) -> EpisodeState:
    """Evaluate the student on val, make the next observation, and decide whether the episode continues."""
    return await _evaluate(state, runtime, iteration=state["iteration"], student=state.get("student"))


async def finish(state: EpisodeState, runtime: Context) -> EpisodeState:
    """Score the base and the best iteration (chosen on val) once on the private test split; write the summary."""
    config, run_dir, steps = runtime.context, state["run_dir"], state["steps"]
    write = runtime.stream_writer
    best = best_step(steps)
    write({"event": "phase", "name": "test", "iteration": best["iteration"]})

    def score() -> None:
        env, store = env_of(config, run_dir), Store(Path(run_dir))
        test = env.task.test
        base = env.evaluate(None, test, {}, stream_reporter(write, "base on test: "))
        store.save("test/base.jsonl", base)
        scored = base
        if best["student"] is not None:
            scored = env.evaluate(best["student"], test, {}, stream_reporter(write, "best on test: "))
        store.save("test/best.jsonl", scored)

    def sum_up() -> None:
        found = summarise(config, Path(run_dir), steps, state.get("stop_reason") or "")
        write_json(Path(run_dir) / "summary.json", found)

    with measured(run_dir, "evaluate", "finish"):
        await in_student_thread(score)
    await asyncio.to_thread(sum_up)
    return {"summary": "summary.json"}


EVALUATED: dict[Hashable, str] = {"go on": "teach", "stop": "finish"}


def after_evaluate(state: EpisodeState) -> Literal["go on", "stop"]:
    """Continue with the next iteration, unless a budget, the target or a plateau has stopped the episode."""
    return "stop" if state.get("stop_reason") else "go on"


def stop_reason(config: EpisodeConfig, steps: list[Step], spent: str | None = None) -> str | None:
    """Tell why the episode ends after these steps; None while it continues. All counts are cumulative.

    `spent`: the cap on calls, tokens or cost that is used up (Spending.reached), or None.
    """
    budget, last, done = config.budget, steps[-1], len(steps) - 1
    if budget.target is not None and last["accuracy"] >= budget.target:
        return f"target accuracy {budget.target:g} reached"
    if spent is not None:
        return spent
    if done >= budget.iterations:
        return f"all {budget.iterations} iterations done"
    if budget.rows is not None and last["rows"] >= budget.rows:
        return f"row budget of {budget.rows} used"
    if budget.patience is not None:
        best = best_step(steps)["iteration"]
        if done - best >= budget.patience:
            return f"no gain on val for {budget.patience} iterations"
    return None


def build_episode(
    teacher: Any = None, structure: Structure = "skill_tree"
) -> StateGraph[EpisodeState, EpisodeConfig, EpisodeInput, EpisodeState]:
    """Build the episode as an uncompiled graph.

    `teacher`: a teacher graph, compiled or not, or a plain function from the observation to rows (see
    `teacher_from`); None: the standard teacher of `structure`, which is also the config's default.
    """
    graph = StateGraph(EpisodeState, context_schema=config_for(structure), input_schema=EpisodeInput)
    graph.add_node("reset", reset_of_standard if teacher is None else reset)
    teacher = build_teacher(structure) if teacher is None else teacher
    graph.add_node("teach", compiled(teacher, structure))
    graph.add_node("train", train)
    graph.add_node("evaluate", evaluate)
    graph.add_node("finish", finish)
    graph.add_edge(START, "reset")
    graph.add_conditional_edges("reset", after_evaluate, EVALUATED)
    graph.add_edge("teach", "train")
    graph.add_edge("train", "evaluate")
    graph.add_conditional_edges("evaluate", after_evaluate, EVALUATED)
    graph.add_edge("finish", END)
    return graph


async def _evaluate(state: EpisodeState, runtime: Context, *, iteration: int, student: str | None) -> EpisodeState:
    """Score val, add the step, and prepare the next iteration."""
    config, run_dir = runtime.context, state["run_dir"]
    write = runtime.stream_writer
    write({"event": "phase", "name": "evaluate", "iteration": iteration})
    earlier = [*state["earlier"], state["accepted"]] if iteration else []
    store = Store(Path(run_dir))

    def work() -> tuple[Step, Ref]:
        env = env_of(config, run_dir)
        skills = _read_skills(store.path(SKILLS))
        found = env.evaluate(student, env.task.val, skills, stream_reporter(write, "val: "))
        predictions = store.save(Store.iteration(iteration, "predictions.jsonl"), found)
        step = Step(
            iteration=iteration,
            student=student,
            predictions=predictions,
            accuracy=accuracy(found),
            n=len(found),
            rows=sum(ref["count"] for ref in earlier),
            plan=state.get("plan") if iteration else None,
            accepted=state.get("accepted") if iteration else None,
            rejected=state.get("rejected") if iteration else None,
            stopped=state.get("stopped") if iteration else None,
        )
        steps = [*state.get("steps", []), step]
        lessons = _lessons(store, steps)
        answers = env.answer_rows(student, lessons, config.rows_answered(), stream_reporter(write))
        if answers:
            store.save(Store.iteration(iteration, ROW_ANSWERS), answers)
        observation = env.observe(
            structure=config.structure,
            state=config.state,
            iteration=iteration + 1,
            budget=budget_left(config, step["rows"]),
            evaluations=[store.read(s["predictions"], Prediction) for s in steps],
            lessons=lessons,
            answers=answers,
        )
        seen = store.save(Store.iteration(iteration + 1, "observation.jsonl"), [observation])
        return step, seen

    step, observation = await in_student_thread(work)
    spent = (await asyncio.to_thread(spending_of, config, run_dir)).reached()
    reason = state.get("stop_reason") or stop_reason(config, [*state.get("steps", []), step], spent)
    write({"event": "evaluated", "step": dict(step), "stop": reason})
    return {
        "steps": [step],
        "iteration": iteration + 1,
        "observation": observation,
        "earlier": earlier,
        "student": student,
        "stop_reason": reason,
    }


def budget_left(config: EpisodeConfig, rows: int) -> int:
    """Compute how many rows the next iteration may have, after `rows` in total."""
    left = config.budget.rows_per_iteration
    return left if config.budget.rows is None else max(0, min(left, config.budget.rows - rows))


def _lessons(store: Store, steps: list[Step]) -> list[Lesson]:
    """Collect plan and rows of each iteration, and what was known of its rows at its training."""
    lessons = []
    for step in steps:
        if step["plan"] is None or step["accepted"] is None:
            continue
        known = store.path(Store.iteration(step["iteration"], KNOWN))
        lessons.append(
            Lesson(
                plan=store.read(step["plan"], Plan)[0],
                rows=store.read(step["accepted"], Row),
                known=json.loads(known.read_text()) if known.is_file() else {},
            )
        )
    return lessons


async def find_skills(config: EpisodeConfig, run_dir: str, report: Report | None = None) -> dict[str, str]:
    """Map the ids of val instances to skills, from the source that the config's `skills` names."""
    task = await asyncio.to_thread(task_of, config)
    gold = TASKS[config.task.name].gold_skills or all(item.skill is not None for item in task.val)
    if config.skills == "gold" and not gold:
        raise ConfigError(f"skills: task {config.task.name!r} has no gold skills; use 'llm' or a skills.json")
    if config.skills == "gold" or (config.skills == "auto" and gold):
        return gold_skills(task.val)
    if config.skills in ("auto", "llm"):
        gateway = await asyncio.to_thread(gateway_of, config, run_dir, "discover_skills")
        client = TeacherClient(gateway, task.domain, config.teacher, "discover_skills", 0)
        try:
            return await discover_skills(task.val, client, config.max_skills, report)
        except BudgetReachedError as reached:
            raise BudgetReachedError(
                f"{reached} before the skills of the val instances were found. What came is kept: raise the cap "
                f"with `dataenvgym resume {run_dir} --set budget.max_calls=...` (or max_tokens, max_cost)"
            ) from None
    saved = await asyncio.to_thread(_read_skills, Path(config.skills))
    lacking = [item.id for item in task.val if item.id not in saved]
    if lacking:
        raise ConfigError(
            f"skills: {config.skills} names no skill for {len(lacking)} val instances, e.g. {lacking[0]}"
        )
    return saved


def _read_skills(path: Path) -> dict[str, str]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{path}: cannot be read as skills (a JSON object of id -> skill): {error}"
        ) from error
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise RunFolderError(f"{path}: expected a JSON object of instance id -> skill name")
    return data
