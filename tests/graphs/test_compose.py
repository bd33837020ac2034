"""Teachers that were edited or written from nothing, in whole episodes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.agents.policies import Policy
from dataenvgym.envs.errors import TeacherError, UnknownNameError
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import DataRequest, Plan, Row
from dataenvgym.graphs.compose import insert_after, replace_node
from dataenvgym.graphs.files import accepted_of, plan_of, save
from dataenvgym.graphs.teacher import build_teacher, planner
from dataenvgym.runs.run import run

FIRST = Path("iterations/001")


def drawn(graph: Any) -> set[tuple[str, str, bool]]:
    return {(e.source, e.target, e.conditional) for e in graph.compile().get_graph().edges}


def test_a_replaced_node_keeps_its_edges() -> None:
    graph, plain = build_teacher("skill_list"), build_teacher("skill_list")
    replace_node(graph, "plan_data", lambda state: {})
    assert drawn(graph) == drawn(plain)


def test_an_inserted_node_takes_over_what_followed() -> None:
    graph = build_teacher("skill_list")
    insert_after(graph, "plan_data", "critic", lambda state: {})
    insert_after(graph, "generate_data", "polish", lambda state: {})
    edges = drawn(graph)
    assert ("plan_data", "critic", False) in edges
    assert {target for source, target, _ in edges if source == "critic"} == {
        "approve_plan",
        "generate_data",
        "__end__",
    }
    assert {target for source, target, _ in edges if source == "generate_data"} == {"polish"}
    assert {target for source, target, _ in edges if source == "polish"} == {"verify_data"}


def test_unknown_and_taken_names_are_refused() -> None:
    graph = build_teacher("skill_list")
    with pytest.raises(UnknownNameError, match="Did you mean 'plan_data'"):
        replace_node(graph, "plan_date", lambda state: {})
    with pytest.raises(UnknownNameError, match="Did you mean 'verify_data'"):
        insert_after(graph, "verify", "mine", lambda state: {})
    with pytest.raises(TeacherError, match="already has a node 'plan_data'"):
        insert_after(graph, "read_feedback", "plan_data", lambda state: {})


def test_what_the_inserted_node_plans_is_generated(stub_config: Any, tmp_path: Path) -> None:
    async def critic(state: Any, runtime: Any) -> Any:
        plan = await asyncio.to_thread(plan_of, state)
        one = plan.model_copy(update={"requests": [DataRequest(id="r0", skill="double", count=5)]})
        return {"plan": await asyncio.to_thread(save, state, "plan-criticised", [one]), "missing": 5}

    graph = build_teacher("skill_list")
    insert_after(graph, "plan_data", "critic", critic)
    run(stub_config("budget.iterations=1"), tmp_path / "run", teacher=graph)
    rows = read_jsonl(tmp_path / "run" / FIRST / "accepted-0.jsonl", Row)
    assert [row.skill for row in rows] == ["double"] * 5


def test_a_policy_of_ones_own_plans(stub_config: Any, tmp_path: Path) -> None:
    async def plan(feedback: Any, client: Any, seed: int) -> Plan:
        request = DataRequest(id="r0", skill=feedback.skills[-1].name, count=feedback.budget)
        return Plan(policy="last", requests=[request])

    graph = build_teacher("skill_list")
    replace_node(graph, "plan_data", planner(Policy("last", "the last skill", ("skill_list",), plan)))
    outcome = run(stub_config("budget.iterations=1"), tmp_path / "run", teacher=graph)
    assert outcome.summary and outcome.summary["rows_accepted"] == 12
    assert read_jsonl(tmp_path / "run" / FIRST / "plan.jsonl", Plan)[0].policy == "last"


def sums(observation: Any) -> list[dict[str, str]]:
    first = 100 * observation.iteration
    texts = [(n, f"What is {n} + {n + 1}?") for n in range(first, first + observation.budget)]
    return [
        {"question": text, "solution": "", "answer": str(2 * n + 1), "skill": "addition", "level": "1"}
        for n, text in texts
    ]


async def later(observation: Any) -> list[dict[str, str]]:
    await asyncio.sleep(0)
    return sums(observation)


@pytest.mark.parametrize("function", [sums, later])
def test_a_plain_function_teaches(function: Any, stub_config: Any, tmp_path: Path) -> None:
    outcome = run(stub_config(), tmp_path / "run", teacher=function)
    assert outcome.summary and outcome.summary["rows_accepted"] == 24
    rows = read_jsonl(tmp_path / "run" / FIRST / "accepted-0.jsonl", Row)
    assert {row.provenance.prompt for row in rows} == {function.__name__}
    assert rows[0].extra == {"level": "1"}
    plan = read_jsonl(tmp_path / "run" / FIRST / "plan.jsonl", Plan)[0]
    assert [(r.skill, r.count) for r in plan.requests] == [("addition", 12)]


def test_the_checks_run_on_what_a_function_wrote(stub_config: Any, tmp_path: Path) -> None:
    def twice(observation: Any) -> list[dict[str, str]]:
        return [*sums(observation)[:3], *sums(observation)[:3]]

    outcome = run(stub_config("budget.iterations=1"), tmp_path / "run", teacher=twice)
    assert outcome.summary
    assert (outcome.summary["rows_accepted"], outcome.summary["rows_rejected"]) == (3, 3)


def test_more_rows_than_the_budget_are_not_trained_on(stub_config: Any, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="gave 24 rows; the budget of this iteration is 12"):
        run(stub_config(), tmp_path / "run", teacher=lambda observation: sums(observation) * 2)


def test_a_teacher_that_falls_silent_is_named(stub_config: Any, tmp_path: Path) -> None:
    """What the iteration before left in the state is not taken for this one's."""
    ours = build_teacher("skill_list")

    async def once(state: Any, runtime: Any) -> Any:
        return await ours.compile().ainvoke(state, context=runtime.context) if state["iteration"] == 1 else {}

    from langgraph.graph import END, START, StateGraph

    from dataenvgym.graphs.config import EpisodeConfig
    from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState

    graph = StateGraph(
        TeacherState, context_schema=EpisodeConfig, input_schema=TeacherInput, output_schema=TeacherOutput
    )
    graph.add_node("once", once)
    graph.add_edge(START, "once")
    graph.add_edge("once", END)
    with pytest.raises(TeacherError, match="gave no 'plan', 'accepted', 'rejected' in iteration 2"):
        run(stub_config(), tmp_path / "run", teacher=graph)


def test_rows_are_none_before_the_first_verification() -> None:
    assert accepted_of({"run_dir": "nowhere", "iteration": 1}) == []
