"""The teacher's nodes and their wiring, the same in every structure.

read_feedback -> plan_data [-> approve_plan] -> generate_data -> verify_data, and back to generate_data while
rows are missing and refill rounds are left. A structure differs in what its reader shows and which policies it
has (agents/feedback_reader.py, agents/policies.py): both are looked up by the config's structure, so one
builder serves all three.

A node reads its files, calls a plain function of `dataenvgym.agents`, and writes files; state holds references.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import ValidationError

from dataenvgym.agents.asking import Asker
from dataenvgym.agents.checks import CheckContext
from dataenvgym.agents.data_generator import generate
from dataenvgym.agents.feedback_reader import READERS, Feedback
from dataenvgym.agents.policies import find_policy
from dataenvgym.agents.similarity import SeenRows
from dataenvgym.agents.verifier import missing, verify
from dataenvgym.envs.errors import BudgetReachedError, TeacherError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store
from dataenvgym.envs.types import Plan, Rejected, Row
from dataenvgym.graphs.config import EpisodeConfig, Structure, config_for
from dataenvgym.graphs.live import env_of, gateway_of, held_out_of, in_student_thread, task_of
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState
from dataenvgym.graphs.timing import timed

Context = Runtime[EpisodeConfig]


@timed("teach")
async def read_feedback(state: TeacherState, runtime: Context) -> TeacherState:
    """Feedback reader: what of the observation the planner and the generator are shown."""
    config, store = runtime.context, Store(Path(state["run_dir"]))
    observation = await asyncio.to_thread(_observation, state)
    feedback = READERS[config.structure](observation, config.teacher, config.seed)
    return {
        "feedback": await asyncio.to_thread(store.save, _file(state, "feedback"), [feedback]),
        "round": 0,
    }


@timed("teach")
async def plan_data(state: TeacherState, runtime: Context) -> TeacherState:
    """Skill planner: the policy turns feedback into a plan, a list of data requests."""
    config, store = runtime.context, Store(Path(state["run_dir"]))
    feedback = await asyncio.to_thread(_feedback, state)
    policy = find_policy(config.structure, config.teacher.policy, config.state)
    try:
        plan = await policy.plan(feedback, await _asker(state, config, "plan_data"), config.seed)
    except BudgetReachedError as reached:  # no plan, no rows: the episode ends after this
        none = Plan(policy=policy.name, requests=[], notes=str(reached))
        nothing = await asyncio.to_thread(store.save, _file(state, "accepted-0"), [])
        saved = await asyncio.to_thread(store.save, _file(state, "plan"), [none])
        return {"plan": saved, "missing": 0, "accepted": nothing, "rejected": nothing, "stopped": str(reached)}
    rows = sum(r.count for r in plan.requests)
    if not rows:
        raise TeacherError(f"plan_data: the policy {policy.name!r} asked for no rows at all")
    runtime.stream_writer({"event": "plan", "requests": len(plan.requests), "rows": rows})
    return {
        "plan": await asyncio.to_thread(store.save, _file(state, "plan"), [plan]),
        "missing": rows,
        "stopped": None,
    }


async def approve_plan(state: TeacherState, runtime: Context) -> TeacherState:
    """A person says yes, or gives an edited plan; nothing is generated before."""
    store = Store(Path(state["run_dir"]))
    plan = await asyncio.to_thread(_plan, state)
    answer: Any = interrupt({"question": "Generate this plan?", "plan": plan.model_dump()})
    edited = approved(answer)
    if edited is None:
        return {}
    return {
        # A file of its own: were the kill to come now, the node would run again and read the plan as it was.
        "plan": await asyncio.to_thread(store.save, _file(state, "plan-approved"), [edited]),
        "missing": sum(r.count for r in edited.requests),
    }


def approved(answer: Any) -> Plan | None:
    """The edited plan in a person's answer to `approve_plan`, or None for a plain yes.

    Raises:
        TeacherError: a refusal, or something that is no plan. LangGraph would give such an answer to the node
            again on every resume, so whoever asks the person checks the answer with this before handing it in.
    """
    if not isinstance(answer, dict):
        if answer in (True, "yes", "y"):
            return None
        raise TeacherError("approve_plan: the plan was refused. Answer 'yes' or an edited plan to go on.")
    try:
        return Plan.model_validate(answer.get("plan", answer))
    except ValidationError as error:
        raise TeacherError(f"approve_plan: the edited plan is not a plan: {error}") from error


@timed("teach")
async def generate_data(state: TeacherState, runtime: Context) -> TeacherState:
    """Data generator: the rows that the plan still lacks, all calls at the same time."""
    config, store, turn = runtime.context, Store(Path(state["run_dir"])), state["round"]
    feedback = await asyncio.to_thread(_feedback, state)
    plan = await asyncio.to_thread(_plan, state)
    accepted = await asyncio.to_thread(_accepted, state)
    rejected = store.read(state["rejected"], Rejected) if turn else []
    write = runtime.stream_writer
    result = await generate(
        missing(plan.requests, accepted),
        feedback,
        await _asker(state, config, "generate_data"),
        round_number=turn,
        written=accepted,
        seed=config.seed,
        progress=lambda done, total: write({"event": "progress", "what": "calls", "done": done, "total": total}),
    )
    return {
        "generated": await asyncio.to_thread(store.save, _file(state, f"generated-{turn}"), result.rows),
        "rejected": await asyncio.to_thread(
            store.save, _file(state, f"rejected-{turn}-reply"), [*rejected, *result.failed]
        ),
        "stopped": result.stopped,
    }


@timed("teach")
async def verify_data(state: TeacherState, runtime: Context) -> TeacherState:
    """Verifier: checks each new row; what fails is kept with its reason."""
    config, store, turn = runtime.context, Store(Path(state["run_dir"])), state["round"]
    plan = await asyncio.to_thread(_plan, state)
    asker = await _asker(state, config, "verify_data")

    async def answers(prompts: Sequence[str]) -> list[str]:
        env, key = env_of(config, state["run_dir"]), state.get("student")
        return await in_student_thread(lambda: env.texts(key, prompts))

    def context() -> CheckContext:
        seen = SeenRows(config.teacher.checks.similarity)
        for row in [*_earlier_rows(store, state), *_accepted(state)]:
            seen.add(row.id, row.question)
        return CheckContext(
            task_of(config).domain, config.teacher.checks, held_out_of(config), seen, asker, answers
        )

    fresh = await asyncio.to_thread(store.read, state["generated"], Row)
    found = await verify(fresh, await asyncio.to_thread(context))
    accepted = [*await asyncio.to_thread(_accepted, state), *found.accepted]
    earlier = await asyncio.to_thread(store.read, state["rejected"], Rejected)
    refused = [*earlier, *found.rejected]
    short = sum(r.count for r in missing(plan.requests, accepted))
    runtime.stream_writer(
        {"event": "verified", "accepted": len(accepted), "rejected": len(refused), "missing": short}
    )
    return {
        "accepted": await asyncio.to_thread(store.save, _file(state, f"accepted-{turn}"), accepted),
        "rejected": await asyncio.to_thread(store.save, _file(state, f"rejected-{turn}"), refused),
        "missing": short,
        "round": turn + 1,
    }


def after_plan(state: TeacherState, runtime: Context) -> Literal["approve_plan", "generate_data", "__end__"]:
    """To the person when the config asks for approval; to the end without a plan."""
    if state.get("stopped"):
        return "__end__"
    return "approve_plan" if runtime.context.approve else "generate_data"


def after_verify(state: TeacherState, runtime: Context) -> Literal["generate_data", "__end__"]:
    """Back to generation while rows are missing, refill rounds are left and no cap forbids it."""
    refill = state["missing"] > 0 and state["round"] <= runtime.context.teacher.refill_rounds
    return "generate_data" if refill and not state.get("stopped") else "__end__"


def build_teacher(
    structure: Structure = "skill_tree",
) -> StateGraph[TeacherState, EpisodeConfig, TeacherInput, TeacherOutput]:
    """The teacher as an uncompiled graph, to be used as it is or edited (docs/design.md)."""
    graph = StateGraph(
        TeacherState,
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
    graph.add_conditional_edges("plan_data", after_plan)
    graph.add_edge("approve_plan", "generate_data")
    graph.add_edge("generate_data", "verify_data")
    graph.add_conditional_edges("verify_data", after_verify)
    return graph


async def _asker(state: TeacherState, config: EpisodeConfig, node: str) -> Asker:
    gateway = await asyncio.to_thread(gateway_of, config, state["run_dir"])
    task = await asyncio.to_thread(task_of, config)
    return Asker(gateway, task.domain, config.teacher, node, state["iteration"])


def _file(state: TeacherState, name: str) -> str:
    return Store.iteration(state["iteration"], f"{name}.jsonl")


def _observation(state: TeacherState) -> Observation:
    return Store(Path(state["run_dir"])).read(state["observation"], Observation)[0]


def _feedback(state: TeacherState) -> Feedback:
    return Store(Path(state["run_dir"])).read(state["feedback"], Feedback)[0]


def _plan(state: TeacherState) -> Plan:
    return Store(Path(state["run_dir"])).read(state["plan"], Plan)[0]


def _earlier_rows(store: Store, state: TeacherState) -> list[Row]:
    return [row for ref in state.get("earlier", []) for row in store.read(ref, Row)]


def _accepted(state: TeacherState) -> list[Row]:
    """Rows accepted in this teaching; none before the first verification."""
    return Store(Path(state["run_dir"])).read(state["accepted"], Row) if state["round"] else []
