"""The teacher as a graph of its own: from an observation to accepted rows, with a person's yes where wanted."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dataenvgym.envs.evaluation import score
from dataenvgym.envs.store import Store
from dataenvgym.envs.types import Plan, Rejected, Row
from dataenvgym.graphs import open_ended, skill_list, skill_tree
from dataenvgym.graphs.config import STRUCTURES, EpisodeConfig, load_config
from dataenvgym.graphs.resources import task_of
from dataenvgym.graphs.teacher import build_teacher

NODES = ["read_feedback", "plan_data", "approve_plan", "generate_data", "verify_data"]


class Teaching:
    """One call of a teacher graph on an observation in which the student got everything wrong."""

    def __init__(self, run_dir: Path, *settings: str, budget: int = 12) -> None:
        from dataenvgym.envs.observation import Observation, SkillState

        self.config: EpisodeConfig = load_config(
            None, ["task.val_size=1", "task.test_size=1", "student.name=tiny", *settings]
        )
        task = task_of(self.config)
        self.store = Store(run_dir)
        predictions = score(task.domain, task.val, ["no idea"] * len(task.val), {})
        seen = Observation(
            task=task.name,
            domain=task.domain.name,
            structure=self.config.structure,
            state=True,
            iteration=1,
            budget=budget,
            accuracy=0.0,
            n=len(predictions),
            predictions=predictions,
            skills=[SkillState(name=p.skill, accuracy=0.0, n=1) for p in predictions],
            exemplars=list(task.train[:100]),
        )
        self.input: dict[str, Any] = {
            "run_dir": str(run_dir),
            "iteration": 1,
            "observation": self.store.save("iterations/001/observation.jsonl", [seen]),
            "earlier": [],
        }
        self.graph = build_teacher(self.config.structure).compile(checkpointer=InMemorySaver())

    def __call__(self, step: Any = None) -> Any:
        thread: Any = {"configurable": {"thread_id": "t"}}
        return asyncio.run(self.graph.ainvoke(step or self.input, thread, context=self.config))

    def rows(self, found: Any) -> list[Row]:
        return self.store.read(found["accepted"], Row)

    def plan(self, found: Any) -> Plan:
        return self.store.read(found["plan"], Plan)[0]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_one_builder_serves_every_structure(structure: Any) -> None:
    drawn = set(build_teacher(structure).compile().get_graph().nodes)
    assert drawn == {"__start__", *NODES, "__end__"}


def test_each_structure_has_its_module_with_the_episode_and_the_teacher() -> None:
    for module in (open_ended, skill_list, skill_tree):
        assert set(module.teacher.nodes) == set(NODES)
        assert "teach" in module.graph.nodes


def test_rows_follow_the_plan_and_tell_where_they_come_from(tmp_path: Path) -> None:
    teach = Teaching(tmp_path, "structure=skill_list")
    found = teach()
    assert set(found) == {"plan", "accepted", "rejected", "stopped"} and found["stopped"] is None
    plan, rows = teach.plan(found), teach.rows(found)
    wanted = {r.id: (r.skill, r.count) for r in plan.requests}
    assert sum(count for _, count in wanted.values()) == len(rows) == 12
    for name, (skill, count) in wanted.items():
        mine = [row for row in rows if row.provenance.request == name]
        assert [row.skill for row in mine] == [skill] * count
    assert len({row.id for row in rows}) == 12
    assert {(r.provenance.model, r.provenance.prompt, r.provenance.iteration) for r in rows} == {
        ("scripted", "math/generate_rows", 1)
    }


def test_faulty_rows_are_refilled_and_kept_with_the_reason(tmp_path: Path) -> None:
    settings = ("teacher.llm.scripted.duplicate=0.5", "teacher.refill_rounds=8")
    teach = Teaching(tmp_path, "structure=skill_list", *settings, budget=36)
    found = teach()
    rejected = teach.store.read(found["rejected"], Rejected)
    assert len(teach.rows(found)) == len({row.question for row in teach.rows(found)}) == 36
    assert {r.verdicts[-1].check for r in rejected} == {"duplicate"}
    assert all(not r.verdicts[-1].passed and r.verdicts[-1].reason for r in rejected)
    assert max(row.provenance.round for row in teach.rows(found)) > 0


def test_refills_end_after_the_rounds_allowed(tmp_path: Path) -> None:
    settings = ("teacher.llm.scripted.wrong_answer=1", "teacher.checks.names=[solve]", "teacher.refill_rounds=1")
    teach = Teaching(tmp_path, "structure=skill_list", *settings)
    found = teach()
    assert teach.rows(found) == []
    assert len(teach.store.read(found["rejected"], Rejected)) == 24, "12 rows in the first round and in one refill"


def test_broken_replies_are_recorded_beside_the_rows(tmp_path: Path) -> None:
    teach = Teaching(
        tmp_path, "structure=skill_list", "teacher.llm.scripted.malformed=0.6", "teacher.refill_rounds=8"
    )
    found = teach()
    checks = {r.verdicts[-1].check for r in teach.store.read(found["rejected"], Rejected)}
    assert "schema" in checks
    assert len(teach.rows(found)) == 12


def test_rows_of_earlier_iterations_are_not_accepted_again(tmp_path: Path) -> None:
    teach = Teaching(tmp_path, "structure=skill_list")
    first = teach()
    teach.input |= {"earlier": [first["accepted"]], "iteration": 2}
    teach.graph = build_teacher("skill_list").compile()
    again = teach()
    old, new = ({row.question for row in teach.rows(f)} for f in (first, again))
    assert not old & new


def test_nothing_is_generated_before_the_yes(tmp_path: Path) -> None:
    teach = Teaching(tmp_path, "structure=skill_list", "approve=true")
    stopped = teach()
    question = stopped["__interrupt__"][0].value
    assert Plan.model_validate(question["plan"]).requests
    assert not list(tmp_path.glob("iterations/001/generated*"))
    found = teach(Command(resume="yes"))
    assert len(teach.rows(found)) == 12


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_edited_plan_is_what_gets_generated(wrapped: bool, tmp_path: Path) -> None:
    teach = Teaching(tmp_path, "structure=skill_list", "approve=true")
    plan = teach()["__interrupt__"][0].value["plan"]
    plan["requests"] = [{**plan["requests"][0], "skill": "rounding", "count": 3}]
    found = teach(Command(resume={"plan": plan} if wrapped else plan))
    assert [row.skill for row in teach.rows(found)] == ["rounding"] * 3
    assert teach.plan(found).requests[0].count == 3


def test_an_edit_leaves_the_planners_own_plan_as_it_was(tmp_path: Path) -> None:
    """A kill between the edit and the next checkpoint runs the node again, on the plan it has the sha256 of."""
    teach = Teaching(tmp_path, "structure=skill_list", "approve=true")
    plan = teach()["__interrupt__"][0].value["plan"]
    before = (tmp_path / "iterations/001/plan.jsonl").read_bytes()
    teach(Command(resume={**plan, "requests": plan["requests"][:1]}))
    assert (tmp_path / "iterations/001/plan.jsonl").read_bytes() == before


TOO_MUCH = {"policy": "x", "requests": [{"id": "r0", "skill": "rounding", "count": 25}]}


@pytest.mark.parametrize("answer", ["no", False, "", {"requests": "all"}, {"plan": {"policy": "x"}}, TOO_MUCH])
def test_an_answer_that_cannot_be_carried_out_leaves_the_question_open(answer: object, tmp_path: Path) -> None:
    teach = Teaching(tmp_path, "structure=skill_list", "approve=true")
    first = teach()["__interrupt__"][0].value
    again = teach(Command(resume=answer))["__interrupt__"][0].value
    assert again["refused"].startswith("approve_plan: ") and again["plan"] == first["plan"]
    assert ("asks for 25 rows; iteration 1 may have 12" in again["refused"]) == (answer == TOO_MUCH)
    assert not list(tmp_path.glob("iterations/001/generated*"))
    assert len(teach.rows(teach(Command(resume="yes")))) == 12
