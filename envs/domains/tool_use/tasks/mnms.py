"""M&Ms: requests for plans of one to three steps with multi-modal tools (arXiv 2403.11085)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Domain, Item, Mark
from dataenvgym.envs.domains.tool_use.calls import Call, as_json, calls_of, read_calls, write_calls
from dataenvgym.envs.domains.tool_use.domain import tool_domain
from dataenvgym.envs.domains.tool_use.mnms_plans import (
    SCORES,
    is_right,
    partial_scores,
    plan_of,
    plans_of,
    read_plan,
    tool_names,
    write_code,
)
from dataenvgym.envs.domains.tool_use.mnms_tools import CATALOGUE, signatures
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.hub import HubSource, read
from dataenvgym.envs.tasks.records import Record, Splits, local_files, records
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.types import Instance, Progress

COLUMNS = ("id", "user_request", "plan_str")
VERIFIED, FILTERED = "test_human_verified", "test_human_verified_filtered"
HUB = (HubSource("zixianma/mnms", splits={"val": VERIFIED, "test": FILTERED}),)
REVISION = "da313260161c982eb2004bb15761d7aa2e03eb4f"
"""The commit that the released DataEnvGym loads, unless `task.revision` says another."""
TRAIN_PART = 7
"""One of so many validation instances is an exemplar: the benchmark has no training split."""

INSTRUCTION = (
    'The answer is a plan as a JSON list of calls in their order, [{"name": ..., "arguments": {...}}]. In an '
    'argument "$1.text" is the output "text" of the first call, also within a longer text.'
)
# Requests and plans of our own, with as many steps and as much reference as those of the benchmark's prompt.
DEMONSTRATIONS: tuple[tuple[str, tuple[Call, ...]], ...] = (
    (
        "Please write me a birthday poem for a friend who loves sailing.",
        (Call("text_generation", {"text": "a birthday poem for a friend who loves sailing"}),),
    ),
    (
        "Make the roof of the house in 'cottage-04.png' red. What can one see in the picture then?",
        (
            Call("image_editing", {"image": "cottage-04.png", "prompt": "make the roof of the house red"}),
            Call("image_captioning", {"image": "$1.image"}),
        ),
    ),
    (
        "I have a recording, 'lecture-7.flac', about volcanoes. Sum it up for me, and paint a poster that shows "
        "the main points.",
        (
            Call("automatic_speech_recognition", {"audio": "lecture-7.flac"}),
            Call("text_summarization", {"text": "$1.text"}),
            Call("image_generation", {"text": "a poster that shows $2.text"}),
        ),
    ),
)


@task(
    "mnms",
    domain="tool_use",
    summary="M&Ms, plans for multi-modal tools as code",
    gold_skills=True,
    answer_tokens=256,
    row_tokens=2560,
)
def load(config: TaskConfig) -> Task:
    """M&Ms from the hub (revision da31326, unless `config.revision` says another), or from `config.path` in the
    same schema: id, user_request, plan_str, alt_plans_str.

    Test: the official `test_human_verified_filtered`, 882 requests, or `config.test_size` of them. Val: those of
    `test_human_verified` that are not in it; one in seven of them, drawn by the seed, is train (the exemplars),
    or with `config.val_size` all but so many. A folder needs files that begin with those names; one file is
    divided: a fifth is test, then val, then train; see `splits.make_task`.

    The student writes code, as in the paper; `read_plan` parses it. The skill is the gold plan's chain of tools
    (the released rule). An answer is right when it names the tools of the gold plan or of an alternative one, in
    order. See `mnms_plans.SCORES` for the partial scores, among them the released accuracy.

    Raises:
        DataError: a missing column, or a plan that is none.
        MissingDependencyError: the hub cannot be reached.
    """
    splits = _splits(config)
    val_size = config.val_size or sum(map(len, splits.values()))
    if "val" in splits:
        config, val_size = config.model_copy(update={"val_size": None}), 1
    return make_task(config, domain(), splits, _instance, lambda _: "", val_size)


def domain() -> Domain:
    """The tool-use domain as M&Ms has it: all tools in each prompt, code as the student's answer."""
    found = tool_domain(
        CATALOGUE,
        instruction=INSTRUCTION,
        prompt=prompt,
        render_answer=render_answer,
        extract=read_plan,
        mark=mark,
        scores=SCORES,
    )
    every = {"tools": signatures().split("\n")}
    return replace(found, show_unsolved=lambda item: every)


def prompt(item: Item) -> str:
    """The tools, three demonstrations, the request: the parts and the order of the paper's prompt."""
    shown = "\n\n".join(
        f"Request: {request}\n```python\n{write_code(plan)}\n```" for request, plan in DEMONSTRATIONS
    )
    return (
        f"# Tools\n{signatures()}\n\n# Examples\n{shown}\n\n# Task\nWrite Python code in a block ```python that "
        f"solves the request with these tools, in the form of the examples.\n\nRequest: {item.question}"
    )


def render_answer(solution: str, answer: str) -> str:
    """The completion a student learns: the code of the plan, fenced; what is no plan stays as it is."""
    calls = read_calls(answer)
    code = f"```python\n{write_code(calls)}\n```" if calls else answer
    return f"{solution.strip()}\n{code}" if solution.strip() else code


def mark(items: Sequence[Item], answers: Sequence[str], _: Progress | None = None) -> list[Mark]:
    """Whether each answer names the tools of one of its item's plans in order, with the partial scores."""
    return [_mark(*pair) for pair in zip(items, answers, strict=True)]


def _mark(item: Item, answer: str) -> Mark:
    plans = [calls_of(plan) or [] for plan in item.extra.get("plans") or []] or [read_calls(item.answer) or []]
    calls = read_calls(answer) or []
    scores = partial_scores(plans, calls)
    if is_right(plans, calls):
        return Mark(True, "", scores)
    if invented := [name for name in tool_names(calls) if name not in CATALOGUE]:
        return Mark(False, f"there is no tool {invented[0][:80]!r}", scores)
    if scores["tool_f1"] == 1:
        return Mark(False, "the tools are right, and their number or order is not", scores)
    return Mark(False, f"it calls {', '.join(tool_names(calls))[:200]}, which is none of the plans", scores)


def _splits(config: TaskConfig) -> Splits:
    if config.path is None:
        config = config.model_copy(update={"revision": config.revision or REVISION})
        return _with_train(config, read(config, HUB))
    files = local_files(Path(config.path))
    named = [[f for f in files if f.name.startswith(FILTERED)], [f for f in files if f.name.startswith(VERIFIED)]]
    verified = [file for file in named[1] if file not in named[0]]
    if not named[0] or not verified:
        return {"all": list(records(files))}
    return _with_train(config, {"val": list(records(verified)), "test": list(records(named[0]))})


def _with_train(config: TaskConfig, splits: Splits) -> Splits:
    """Val without what is in test, and train drawn from it."""
    tested = {_identity(record) for record in splits["test"]}
    left = [record for record in splits["val"] if _identity(record) not in tested]
    size = config.val_size if config.val_size is not None else len(left) - len(left) // TRAIN_PART
    chosen = Random(f"{config.seed} mnms train").sample(range(len(left)), max(0, len(left) - size))
    train = [left[at] for at in sorted(chosen)]
    return {
        "train": train,
        "val": [r for at, r in enumerate(left) if at not in set(chosen)],
        "test": splits["test"],
    }


def _identity(record: Record) -> str:
    return str(record.data.get("id"))


def _instance(identity: str, record: Record) -> Instance:
    request = record.text("user_request", COLUMNS)
    try:
        plans = [plan_of(record.text("plan_str", COLUMNS)), *_alternatives(record)]
    except ValueError as error:
        raise DataError(f"{record.where}: column 'plan_str' or 'alt_plans_str': {error}.") from None
    if unknown := [name for name in tool_names(plans[0]) if name not in CATALOGUE]:
        raise DataError(f"{record.where}: column 'plan_str': M&Ms has no tool {unknown[0]!r}.")
    return Instance(
        id=identity,
        question=request.strip(),
        answer=write_calls(plans[0]),
        skill=" > ".join(tool_names(plans[0])),
        extra={
            "tools": sorted(set(tool_names(plans[0]))),
            "plans": [[as_json(call) for call in plan] for plan in plans],
            "mnms_id": record.data.get("id"),
        },
    )


def _alternatives(record: Record) -> list[list[Call]]:
    """The alternative plans; rows without any have `[]`, an empty text or null."""
    value: Any = record.data.get("alt_plans_str")
    return plans_of(value) if isinstance(value, str) and value.strip() else []
