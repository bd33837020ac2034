"""The teacher's nodes and their wiring, the same in every structure.

read_feedback -> plan_data [-> approve_plan] -> generate_data -> verify_data, and back to generate_data while
rows are missing and refill rounds are left. Structures differ in their feedback reader and their policies
(agents/feedback_reader.py, agents/policies/). Both are looked up by the config's structure, so one builder
serves all three.

A node reads its files, calls a plain function of `dataenvgym.agents`, and writes files; state holds references.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.checks.duplicate import AcceptedQuestions
from dataenvgym.agents.data_generator import NO_ROW, generate
from dataenvgym.agents.diagnosis import diagnose
from dataenvgym.agents.feedback_reader import READERS, Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.policies import Policy, find_policy
from dataenvgym.agents.skill_planner import make_plan, no_plan, rows_asked
from dataenvgym.agents.verifier import missing, verify
from dataenvgym.envs.errors import BudgetReachedError, TeacherError
from dataenvgym.envs.store import Store, read_jsonl
from dataenvgym.envs.types import DataRequest, Plan, Rejected, stage_progress
from dataenvgym.graphs.config import EpisodeConfig, Structure, config_for
from dataenvgym.graphs.edited_plan import answered
from dataenvgym.graphs.files import (
    accepted_of,
    earlier_of,
    feedback_of,
    generated_of,
    observation_of,
    plan_of,
    rejected_of,
    save,
)
from dataenvgym.graphs.node_name import node_name
from dataenvgym.graphs.resources import client_of, env_of, held_out_of, in_student_thread, stream_reporter, task_of
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState
from dataenvgym.graphs.timing import timed

Context = Runtime[EpisodeConfig]

GIVEN_PLAN = "plan-given.jsonl"


@timed("teach")
async def read_feedback(state: TeacherState, runtime: Context) -> TeacherState:
    """Feedback reader: select the part of the observation that the planner and the generator see.

    With `teacher.reader: model` a model diagnoses the errors in it.
    """
    config = runtime.context
    observation = await asyncio.to_thread(observation_of, state)
    feedback = READERS[config.structure](observation, config.teacher, config.seed)
    if config.teacher.reader == "model" and feedback.errors:
        client = await client_of(config, state, "read_feedback")
        progress = stage_progress(stream_reporter(runtime.stream_writer), "readings of errors")
        found = await diagnose(feedback, client, progress)
        feedback = feedback.model_copy(update={"diagnoses": found.diagnoses})
        await asyncio.to_thread(save, state, "rejected-diagnoses", found.rejected)
        told = {"event": "diagnosed", "diagnoses": len(found.diagnoses), "rejected": len(found.rejected)}
        for event in [*_news(client), told]:
            runtime.stream_writer(event)
    return {
        "feedback": await asyncio.to_thread(save, state, "feedback", [feedback]),
        "round": 0,
    }


class Node(Protocol):
    """A node of the teacher, for the type checker."""

    def __call__(self, state: TeacherState, runtime: Context) -> Awaitable[TeacherState]:
        """Return the keys of the state that change."""
        ...


def planner(own: Policy | str | None = None, key: str = "plan") -> Node:
    """Make the node `plan_data` with your own policy or one by name; None: the policy that the config names.

    `key`: where the state gets the plan. With another one than "plan" the node writes nothing else into the state,
    so that several planners may run side by side, for a later node to choose from (`own_nodes.planned`).
    """

    @timed("teach")
    async def plan_data(state: TeacherState, runtime: Context) -> TeacherState:
        """Skill planner: the policy turns feedback into a plan, a list of data requests. A given plan is kept."""
        config, name = runtime.context, node_name("plan_data")
        file = "plan" if name == "plan_data" else f"plan-{name}"
        given = await asyncio.to_thread(given_plan, state)
        feedback = await asyncio.to_thread(feedback_of, state)
        named = own if isinstance(own, str) else config.teacher.policy
        policy = own if isinstance(own, Policy) else find_policy(config.structure, named, config.state)
        try:
            plan = given or await make_plan(
                policy, feedback, await client_of(config, state, "plan_data"), config.seed
            )
        except BudgetReachedError as reached:  # no plan, no rows: the episode ends after this
            saved = await asyncio.to_thread(save, state, file, [no_plan(policy, reached)])
            if key != "plan":
                return {key: saved}  # type: ignore[misc]
            nothing = await asyncio.to_thread(save, state, "accepted-0", [])
            return {"plan": saved, "missing": 0, "accepted": nothing, "rejected": nothing, "stopped": str(reached)}
        rows = rows_asked(policy, plan)
        runtime.stream_writer({"event": "plan", "requests": len(plan.requests), "rows": rows})
        saved = await asyncio.to_thread(save, state, file, [plan])
        if key != "plan":
            return {key: saved}  # type: ignore[misc]
        return {
            "plan": saved,
            "missing": rows,
            "stopped": None,
        }

    return plan_data


plan_data = planner()


def given_plan(state: TeacherState) -> Plan | None:
    """Read the plan that a fork gives instead of the planner's; None without one."""
    path = Path(state["run_dir"]) / Store.iteration(state["iteration"], GIVEN_PLAN)
    return read_jsonl(path, Plan)[0] if path.is_file() else None


async def approve_plan(state: TeacherState, runtime: Context) -> TeacherState:
    """Ask a person to accept the plan or to edit it, before any row is generated."""
    plan = await asyncio.to_thread(plan_of, state)
    observation = await asyncio.to_thread(observation_of, state)
    question = {"question": "Generate this plan?", "plan": plan.model_dump(), "budget": observation.budget}
    while True:  # an answer that cannot be carried out leaves the question open
        answer: Any = interrupt(question)
        try:
            edited = answered(answer, observation, plan)
            break
        except TeacherError as error:
            question = {**question, "refused": str(error)}
    if edited is None:
        return {}
    return {
        # A separate file: after a kill at this point the node runs again and must read the original plan.
        "plan": await asyncio.to_thread(save, state, "plan-approved", [edited]),
        "missing": sum(r.count for r in edited.requests),
    }


def generator(
    key: str = "generated",
    *,
    only: Callable[[DataRequest], bool] = lambda _: True,
    feedback: Callable[[Feedback], Feedback] = lambda found: found,
) -> Node:
    """Make the node `generate_data`, or one of several generators that run side by side.

    Args:
        key: where the state gets the rows. With another one than "generated" the node writes only that key and
            `<key>_rejected`; a later node puts the rows together (`own_nodes.merged`).
        only: the requests of the plan that this generator writes rows for.
        feedback: what it is shown of the feedback, e.g. without errors.
    """

    @timed("teach")
    async def generate_data(state: TeacherState, runtime: Context) -> TeacherState:
        """Data generator: generate the rows that the plan still lacks, all calls at the same time."""
        config, turn = runtime.context, state["round"]
        shown = feedback(await asyncio.to_thread(feedback_of, state))
        plan = await asyncio.to_thread(plan_of, state)
        accepted = await asyncio.to_thread(accepted_of, state)
        rejected = await asyncio.to_thread(rejected_of, state) if turn and key == "generated" else []
        client = await client_of(config, state, "generate_data")
        result = await generate(
            [request for request in missing(plan.requests, accepted) if only(request)],
            shown,
            client,
            round_number=turn,
            written=accepted,
            seed=config.seed,
            progress=stage_progress(stream_reporter(runtime.stream_writer), "calls"),
        )
        no_row = [record for record in result.failed if record.verdicts[-1].check in NO_ROW]
        for event in [*_news(client), *_failed(no_row)]:
            runtime.stream_writer(event)
        rows = await asyncio.to_thread(save, state, f"{key}-{turn}", result.rows)
        failed = f"rejected-{turn}-reply" if key == "generated" else f"{key}-{turn}-rejected"
        refused = await asyncio.to_thread(save, state, failed, [*rejected, *result.failed])
        if key != "generated":
            if result.stopped:
                raise BudgetReachedError(result.stopped)
            return {key: rows, f"{key}_rejected": refused}  # type: ignore[misc]
        return {"generated": rows, "rejected": refused, "stopped": result.stopped}

    return generate_data


generate_data = generator()


def _news(client: TeacherClient) -> list[dict[str, Any]]:
    """Events that tell what the model has refused so far."""
    return [{"event": "note", "text": text} for text in client.gateway.news()]


def _failed(records: Sequence[Rejected]) -> list[dict[str, Any]]:
    """An event that tells how many items and calls gave no row, and the commonest reason."""
    reasons = Counter(record.verdicts[-1].reason for record in records)
    return [{"event": "failed", "count": len(records), "reason": reasons.most_common(1)[0][0]}] if reasons else []


@timed("teach")
async def verify_data(state: TeacherState, runtime: Context) -> TeacherState:
    """Verifier: check each new row; store the rejected ones with their reasons."""
    config, turn = runtime.context, state["round"]
    plan = await asyncio.to_thread(plan_of, state)
    client = await client_of(config, state, "verify_data")
    report = stream_reporter(runtime.stream_writer)

    async def answers(prompts: Sequence[str]) -> list[str]:
        env, key = env_of(config, state["run_dir"]), state.get("student")
        progress = stage_progress(report, "the student's answers to new rows")
        return await in_student_thread(lambda: env.texts(key, prompts, progress))

    def context() -> CheckContext:
        seen = AcceptedQuestions(config.teacher.checks.similarity)
        for row in [*earlier_of(state), *accepted_of(state)]:
            seen.add(row.id, row.question)
        return CheckContext(
            task_of(config).domain, config.teacher.checks, held_out_of(config), seen, client, answers, report
        )

    fresh = await asyncio.to_thread(generated_of, state)
    try:
        found = await verify(fresh, await asyncio.to_thread(context))
    except BudgetReachedError as reached:  # the new rows stay unverified: neither accepted nor rejected
        kept = await asyncio.to_thread(accepted_of, state)
        return {
            "accepted": await asyncio.to_thread(save, state, f"accepted-{turn}", kept),
            "rejected": await asyncio.to_thread(save, state, f"rejected-{turn}", rejected_of(state)),
            "round": turn + 1,
            "stopped": str(reached),
        }
    accepted = [*await asyncio.to_thread(accepted_of, state), *found.accepted]
    earlier = await asyncio.to_thread(rejected_of, state)
    refused = [*earlier, *found.rejected]
    short = sum(r.count for r in missing(plan.requests, accepted))
    runtime.stream_writer(
        {"event": "verified", "accepted": len(accepted), "rejected": len(refused), "missing": short}
    )
    return {
        "accepted": await asyncio.to_thread(save, state, f"accepted-{turn}", accepted),
        "rejected": await asyncio.to_thread(save, state, f"rejected-{turn}", refused),
        "missing": short,
        "round": turn + 1,
    }


PLANNED: dict[Hashable, str] = {"ask a person": "approve_plan", "go": "generate_data", "cap reached": END}
VERIFIED: dict[Hashable, str] = {"rows missing": "generate_data", "done": END}


def after_plan(state: TeacherState, runtime: Context) -> Literal["ask a person", "go", "cap reached"]:
    """Go to the person when the config requires approval; to the end without a plan."""
    if state.get("stopped"):
        return "cap reached"
    return "ask a person" if runtime.context.approve else "go"


def after_verify(state: TeacherState, runtime: Context) -> Literal["rows missing", "done"]:
    """Return to generation while rows are missing, refill rounds are left and no cap is used up."""
    refill = state["missing"] > 0 and state["round"] <= runtime.context.teacher.refill_rounds
    return "rows missing" if refill and not state.get("stopped") else "done"


def build_teacher(
    structure: Structure = "skill_tree", state: type[TeacherState] = TeacherState
) -> StateGraph[TeacherState, EpisodeConfig, TeacherInput, TeacherOutput]:
    """Build the teacher as an uncompiled graph, to use unchanged or to edit (docs/design.md).

    `state`: a class of yours that inherits from `TeacherState`, with further keys for nodes of your own. They last
    one iteration; `own_nodes.remember` keeps what shall last longer.
    """
    graph = StateGraph(
        state,
        context_schema=config_for(structure),
        input_schema=TeacherInput,
        output_schema=TeacherOutput,
    )
    graph.add_node("read_feedback", read_feedback)
    graph.add_node("plan_data", plan_data)
    graph.add_node("approve_plan", approve_plan)
    graph.add_node("generate_data", generate_data)
    graph.add_node("verify_data", verify_data)
    graph.add_edge(START, "read_feedback")
    graph.add_edge("read_feedback", "plan_data")
    graph.add_conditional_edges("plan_data", after_plan, PLANNED)
    graph.add_edge("approve_plan", "generate_data")
    graph.add_edge("generate_data", "verify_data")
    graph.add_conditional_edges("verify_data", after_verify, VERIFIED)
    return graph
