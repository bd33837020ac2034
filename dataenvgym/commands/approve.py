"""A person in the loop: show a plan as a table and read the answer from the terminal or a file."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataenvgym.envs.errors import DataEnvGymError, DataError, RunFolderError
from dataenvgym.runs.plans import latest_observation, open_question, read_plan, write_editable

if TYPE_CHECKING:
    from rich.console import Console

    from dataenvgym.envs.observation import Observation
    from dataenvgym.envs.types import Plan
    from dataenvgym.runs.run import Outcome

Read = Callable[[str], str]

QUESTION = "Generate this plan? (yes, no, edit, or the path of an edited plan) "


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the option `--plan` of `resume`."""
    parser.add_argument(
        "--plan",
        metavar="yes|FILE",
        help="answer a run that waits for a person: yes, or an edited plan (YAML or JSON)",
    )


def resume_asking(
    run_dir: Path,
    console: Console,
    given: str | None = None,
    changed_teacher: bool = False,
    *,
    read: Read | None = None,
) -> Outcome:
    """Continue a run, show its events, and ask the person at the terminal whenever a plan waits for approval.

    Args:
        run_dir: the run folder.
        console: the console for the output.
        given: the answer to the plan that waits now: `yes` or the path of an edited plan.
        changed_teacher: go on although the files of the run's own teacher have changed.
        read: shows a prompt and returns the typed line (default: `input`).

    Returns:
        The outcome; it has no summary if the question is still open, after a no or without a terminal.

    Raises:
        RunFolderError: `given` without a waiting plan.
        DataError: `given` is neither yes nor a valid plan; the question stays open.
    """
    answer = None if given is None else _read_answer(run_dir, given)
    person = read is not None or sys.stdin.isatty()
    while True:
        outcome, question = _run_until_question(run_dir, console, answer, changed_teacher)
        if question is None:
            return outcome
        if not person:
            _print_how_to_answer(run_dir, question, console)
            return outcome
        answer = ask(question, run_dir, console, read or input)
        if answer is None:
            console.print("refused: nothing was generated, and the question stays open")
            return outcome


def ask(question: Any, run_dir: Path, console: Console, read: Read) -> Any:
    """Ask the question of `approve_plan`; return "yes", an edited plan as a dict, or None for a no.

    After an invalid answer, print the reason and ask again.
    """
    from dataenvgym.envs.types import Plan

    plan, observation = Plan.model_validate(question["plan"]), latest_observation(run_dir)
    show_plan(plan, observation, console)
    while True:
        try:
            answer = read(QUESTION).strip().strip("'\"")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return None
        if answer.lower() in ("no", "n"):
            return None
        if answer.lower() in ("yes", "y"):
            return "yes"
        if not answer:
            continue
        try:
            edited = _from_editor(plan, observation, run_dir) if answer.lower() == "edit" else None
            edited = edited or read_plan(Path(answer).expanduser(), observation, plan)
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


def _run_until_question(
    run_dir: Path, console: Console, answer: Any, changed_teacher: bool
) -> tuple[Outcome, Any]:
    """Continue until the end or the next question; return that question. `answer`: for the question open now."""
    from dataenvgym.commands.progress import live
    from dataenvgym.runs.run import resume

    answers, asked = [] if answer is None else [answer], []

    def approve(question: Any) -> Any:
        if answers:
            return answers.pop()
        asked.append(question)
        return None  # asked after the live display has closed, which would overwrite the typed text

    with live(console) as show:
        outcome = resume(
            run_dir,
            on_event=lambda event: None if event["event"] == "waiting" else show(event),
            approve=approve,
            changed_teacher=changed_teacher,
        )
    return outcome, asked[0] if asked else None


def _read_answer(run_dir: Path, given: str) -> Any:
    from dataenvgym.envs.types import Plan

    question = open_question(run_dir)
    if question is None:
        raise RunFolderError(
            f"{run_dir} has no plan that waits for approval. Continue it: dataenvgym resume {run_dir}"
        )
    if given.lower() in ("yes", "y"):
        return "yes"
    asked = Plan.model_validate(question["plan"])
    return read_plan(Path(given).expanduser(), latest_observation(run_dir), asked).model_dump()


def _print_how_to_answer(run_dir: Path, question: Any, console: Console) -> None:
    """Print the plan and how to answer later, when there is no terminal."""
    from dataenvgym.envs.types import Plan

    plan, observation = Plan.model_validate(question["plan"]), latest_observation(run_dir)
    show_plan(plan, observation, console)
    path = write_editable(plan, observation, run_dir)
    lines = (
        "the plan waits for approval",
        f"answer in a terminal: dataenvgym resume {run_dir}",
        f"or approve it:        dataenvgym resume {run_dir} --plan yes",
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
        raise DataError("the plan is unchanged; answer yes to generate it")
    return edited
