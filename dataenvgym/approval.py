"""A person in the loop: a plan shown as a table, and the answer to it, from the terminal or a file."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import DataEnvGymError, DataError, RunFolderError, UnknownNameError

if TYPE_CHECKING:
    from rich.console import Console

    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.types import Plan
    from dataenvgym.runs import Outcome

Read = Callable[[str], str]

QUESTION = "Generate this plan? (yes, no, edit, or the path of an edited plan) "
# The plan in the iteration's folder, for a person to edit; it stays as the person left it.
EDITABLE = "plan-to-edit.yaml"


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Give `resume` its option `--plan`."""
    parser.add_argument(
        "--plan",
        metavar="yes|FILE",
        help="answer a run that waits for a person: yes, or an edited plan (YAML or JSON)",
    )


def resume_asking(
    run_dir: Path, console: Console, given: str | None = None, *, read: Read | None = None
) -> Outcome:
    """Go on with a run, showing its events, and ask the person at the terminal whenever a plan waits for a yes.

    Args:
        run_dir: the run folder.
        console: where it is shown.
        given: the answer to the plan that waits now: `yes` or the path of an edited plan.
        read: shows a prompt and gives the line typed (default: `input`).

    Returns:
        The outcome, without a summary when the question was left open: nobody to ask, or a no.

    Raises:
        RunFolderError: `given`, and no plan waits.
        DataError: `given` is neither yes nor a plan that may be generated; the question stays open.
    """
    answer = None if given is None else _given(run_dir, given)
    person = read is not None or sys.stdin.isatty()
    while True:
        outcome, question = _until_asked(run_dir, console, answer)
        if question is None:
            return outcome
        if not person:
            _say_how(run_dir, question, console)
            return outcome
        answer = ask(question, run_dir, console, read or input)
        if answer is None:
            console.print("refused: nothing was generated, and the question stays open")
            return outcome


def open_question(run_dir: Path) -> dict[str, Any] | None:
    """What a run waits for a person to answer (`question`, and the `plan`), or None while it waits for nobody.

    Raises:
        RunFolderError: not a run, in use by another process, or damaged.
    """
    from dataenvgym.agents.llm.loops import run_now
    from dataenvgym.runs import CHECKPOINTS, THREAD, episode_graph, locked, open_run, readable

    config, checkpoints = open_run(run_dir), run_dir / CHECKPOINTS

    async def read() -> dict[str, Any] | None:
        async with episode_graph(checkpoints, config) as graph:
            asked = (await graph.aget_state(THREAD)).interrupts
        return dict(asked[0].value) if asked else None

    with locked(run_dir), readable(checkpoints):
        return run_now(read()) if checkpoints.is_file() else None


def ask(question: Any, run_dir: Path, console: Console, read: Read) -> Any:
    """The person's answer to a question of `approve_plan`: "yes", an edited plan as a dict, or None for a no.

    What cannot be used as an answer is told, and the question asked again.
    """
    from dataenvgym.envs.types import Plan

    plan, observation = Plan.model_validate(question["plan"]), latest_observation(run_dir)
    show_plan(plan, observation, console)
    while True:
        try:
            said = read(QUESTION).strip().strip("'\"")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return None
        if said.lower() in ("no", "n"):
            return None
        if said.lower() in ("yes", "y"):
            return "yes"
        if not said:
            continue
        try:
            edited = _from_editor(plan, observation, run_dir) if said.lower() == "edit" else None
            edited = edited or read_plan(Path(said).expanduser(), observation, plan)
        except DataEnvGymError as error:
            console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
            continue
        show_plan(edited, observation, console)
        return edited.model_dump()


def show_plan(plan: Plan, observation: Observation, console: Console) -> None:
    """Print a plan as a table, with the running total of its rows against the iteration's budget."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = f"iteration {observation.iteration}: the plan of {plan.policy}"
    table = Table(title=Text(title), box=box.SIMPLE, pad_edge=False)
    table.add_column("skill")
    table.add_column("subskill")
    table.add_column("rows", justify="right")
    table.add_column(f"of {observation.budget}", justify="right", no_wrap=True)
    table.add_column("reason")
    total = 0
    for request in plan.requests:
        total += request.count
        cells = (request.skill, request.subskill or "-", str(request.count), str(total), request.reason)
        table.add_row(*map(Text, cells))
    console.print(table)
    if plan.notes:
        console.print(Text(plan.notes))


def latest_observation(run_dir: Path) -> Observation:
    """What the environment shows for the iteration that the run is in.

    Raises:
        RunFolderError: none was made yet, or its file cannot be read.
    """
    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.store import read_jsonl

    found = sorted(run_dir.glob("iterations/*/observation.jsonl"))
    if not found:
        raise RunFolderError(f"{run_dir} has no observation yet; go on with it: dataenvgym resume {run_dir}")
    return read_jsonl(found[-1], Observation)[0]


def read_plan(path: Path, observation: Observation, asked: Plan | None = None) -> Plan:
    """A plan that a person wrote, in YAML or JSON, checked against what may be asked for.

    Only the requests need be written, as a list or under `requests`, and without `id`; the rest is that of
    `asked`. In the skill tree the allocations in `actions` are made to follow the requests.

    Args:
        path: the file.
        observation: of the iteration that the plan is for: its budget, skills and instances.
        asked: the plan that it is to replace.

    Raises:
        DataError: not a plan, more rows than the budget or none, an unknown skill or exemplar; the text says
            which and what is allowed.
    """
    from pydantic import ValidationError

    from dataenvgym.envs.errors import TeacherError
    from dataenvgym.graphs.teacher import approved

    data = _completed(_parse(path), asked)
    try:
        plan = approved({"plan": data})
    except TeacherError as error:
        cause = error.__cause__
        faults = cause.errors() if isinstance(cause, ValidationError) else []
        lines = [f"  {'.'.join(map(str, e['loc'])) or 'plan'}: {e['msg']}, got {e['input']!r}" for e in faults]
        raise DataError("\n".join([f"{path} is not a plan:", *lines])) from error
    if plan is None:
        raise DataError(f"{path} is not a plan")
    faults_found = list(_faults(plan, observation, asked))
    if faults_found:
        raise DataError("\n".join([f"{path} cannot be generated:", *(f"  {fault}" for fault in faults_found)]))
    return plan if plan == asked else _aligned(plan, observation)


def write_editable(plan: Plan, observation: Observation, run_dir: Path) -> Path:
    """The plan as a YAML file in its iteration's folder, for a person to edit; one that is there is kept."""
    import yaml

    from dataenvgym.envs.store import Store, write_bytes

    path = run_dir / Store.iteration(observation.iteration, EDITABLE)
    if not path.is_file():
        skills = ", ".join(_skills(observation, plan) or ["any, written freely"])
        head = f"# The plan of iteration {observation.iteration}. Rows in all: at most {observation.budget}.\n"
        # The actions of the skill tree follow from the requests: see _aligned.
        text = yaml.safe_dump(plan.model_dump(exclude={"actions"}), sort_keys=False, allow_unicode=True, width=110)
        write_bytes(path, f"{head}# Skills: {skills}\n{text}".encode())
    return path


def _until_asked(run_dir: Path, console: Console, answer: Any) -> tuple[Outcome, Any]:
    """Go on until the end or the next question, which is given back; `answer` answers the one that is open."""
    from dataenvgym.display import live
    from dataenvgym.runs import resume

    answers, asked = [] if answer is None else [answer], []

    def approve(question: Any) -> Any:
        if answers:
            return answers.pop()
        asked.append(question)
        return None  # asked once the live display is gone, which would draw over what is typed

    with live(console) as show:
        outcome = resume(
            run_dir, on_event=lambda event: None if event["event"] == "waiting" else show(event), approve=approve
        )
    return outcome, asked[0] if asked else None


def _given(run_dir: Path, given: str) -> Any:
    from dataenvgym.envs.types import Plan

    question = open_question(run_dir)
    if question is None:
        raise RunFolderError(
            f"{run_dir} does not wait for an answer to a plan. Go on with it: dataenvgym resume {run_dir}"
        )
    if given.lower() in ("yes", "y"):
        return "yes"
    asked = Plan.model_validate(question["plan"])
    return read_plan(Path(given).expanduser(), latest_observation(run_dir), asked).model_dump()


def _say_how(run_dir: Path, question: Any, console: Console) -> None:
    """Where there is nobody to ask: the plan, and how to answer it later."""
    from dataenvgym.envs.types import Plan

    plan, observation = Plan.model_validate(question["plan"]), latest_observation(run_dir)
    show_plan(plan, observation, console)
    path = write_editable(plan, observation, run_dir)
    lines = (
        "the plan waits for a person's yes",
        f"answer in a terminal: dataenvgym resume {run_dir}",
        f"or say yes to it:     dataenvgym resume {run_dir} --plan yes",
        f"or edit {path}, then: dataenvgym resume {run_dir} --plan {path}",
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _from_editor(plan: Plan, observation: Observation, run_dir: Path) -> Plan:
    path = write_editable(plan, observation, run_dir)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise DataError(f"$EDITOR is not set. Edit {path} elsewhere, then answer with its path.")
    try:
        status = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        raise DataError(f"$EDITOR: {editor!r} cannot be started ({error}). The plan is in {path}.") from error
    if status:
        raise DataError(f"$EDITOR: {editor!r} ended with status {status}. The plan is in {path}.")
    edited = read_plan(path, observation, plan)
    if edited == plan:
        raise DataError("the plan is unchanged; answer yes to take it as it is")
    return edited


def _parse(path: Path) -> Any:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file in UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}). Expected yes, no, edit or a file.") from error
    with suppress(ValueError):
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: neither YAML nor JSON: {error}") from error


def _completed(data: Any, asked: Plan | None) -> Any:
    """The data with what a person need not write; anything that is no plan is left for the check of the schema."""
    rest = {"policy": "edited"} if asked is None else asked.model_dump(exclude={"requests"})
    if isinstance(data, dict) and "plan" in data:
        data = data["plan"]
    if isinstance(data, list):
        data = {"requests": data}
    if not isinstance(data, dict) or not isinstance(data.get("requests"), list):
        return data
    taken = {request.get("id") for request in data["requests"] if isinstance(request, dict)}
    free = (name for name in (f"r{number}" for number in range(10**9)) if name not in taken)
    requests = [
        {"id": next(free), **request} if isinstance(request, dict) and "id" not in request else request
        for request in data["requests"]
    ]
    return {**rest, **data, "requests": requests}


def _faults(plan: Plan, observation: Observation, asked: Plan | None) -> Iterator[str]:
    """Why a plan cannot be generated."""
    rows, budget = sum(request.count for request in plan.requests), observation.budget
    if rows > budget:
        yield f"{rows} rows are asked for; iteration {observation.iteration} may have {budget}"
    if not rows:
        yield "no rows are asked for; to generate nothing, answer no"
    ids = [request.id for request in plan.requests]
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"two requests have the id {name!r}; leave it out, and one is given"
    skills = _skills(observation, asked)
    instances = {item.id for item in observation.predictions} | {item.id for item in observation.exemplars}
    instances |= {name for request in asked.requests for name in request.exemplars} if asked else set()
    for request in plan.requests:
        if not request.skill.strip():
            yield f"request {request.id!r} names no skill"
        elif skills and request.skill not in skills:
            yield str(UnknownNameError("skill", request.skill, skills))
        for name in request.exemplars:
            if name not in instances:
                yield f"request {request.id!r}: no instance {name!r} was observed"


def _skills(observation: Observation, asked: Plan | None) -> list[str]:
    """The skills that rows may be asked for; empty: any, since an open-ended plan names them freely."""
    if observation.structure == "open_ended":
        return []
    named = [request.skill for request in asked.requests] if asked else []
    return sorted({*(skill.name for skill in observation.skills), *named})


def _aligned(plan: Plan, observation: Observation) -> Plan:
    """In the skill tree: actions whose allocations come out as the requests ask, whichever were edited.

    The forest is drawn from the actions (envs/observation.py), the rows from the requests: were they to differ,
    the next plan would take what a person struck out for missing, and ask for it again.
    """
    from dataenvgym.envs.types import SkillAction

    if observation.structure != "skill_tree":
        return plan
    leaves = {(skill.name, leaf.name): leaf for skill in observation.skills for leaf in skill.subskills}
    asked: dict[str, dict[str, int]] = {action.skill: {} for action in plan.actions}
    for request in plan.requests:
        if request.subskill:
            counts = asked.setdefault(request.skill, {})
            counts[request.subskill] = counts.get(request.subskill, 0) + request.count
    given = {action.skill: action for action in plan.actions}
    actions = []
    for skill, counts in asked.items():
        action = given.get(skill)
        deltas = dict(action.deltas) if action else {}
        for name in {**deltas, **counts}:
            leaf = leaves.get((skill, name))
            short = leaf.allocation - leaf.rows if leaf else 0
            if counts.get(name, 0) != max(0, short + deltas.get(name, 0)):
                deltas[name] = counts.get(name, 0) - short
        deltas = {name: delta for name, delta in deltas.items() if delta}
        if action is None:
            kind = "exploit" if all((skill, name) in leaves for name in deltas) else "explore"
            action = SkillAction(skill=skill, kind=kind, reason="edited by a person")
        grown = {"new_subskills": len(deltas), "rows_each": max([0, *deltas.values()])}
        update = {"deltas": deltas, **(grown if action.kind == "explore" else {})}
        if deltas or not (action.deltas or action.kind == "explore"):  # one with nothing left is struck out
            actions.append(action.model_copy(update=update))
    return plan.model_copy(update={"actions": actions})
