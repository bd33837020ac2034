"""The episode graph: what it leaves in the run folder, and what each teacher may know."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from episode_files import only, summary_of
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from dataenvgym.envs.errors import MissingDependencyError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store, read_jsonl
from dataenvgym.envs.types import DataRequest, Plan, Prediction, Provenance, Rejected, Row
from dataenvgym.graphs.config import STRUCTURES, EpisodeConfig
from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.state import TeacherInput, TeacherOutput, TeacherState
from dataenvgym.runs.run import run

TEACHERS = [(structure, state) for structure in STRUCTURES for state in (True, False)]


KEYS = {
    *("task", "structure", "state", "student", "teacher", "seed", "iterations", "rows_accepted", "rows_rejected"),
    *("calls", "stop_reason", "val", "skills", "test", "seconds"),
}


@pytest.mark.parametrize(("structure", "state"), TEACHERS)
def test_every_teacher_finishes_an_episode(structure: str, state: bool, episode: Any) -> None:
    outcome = episode(structure, state)
    found = summary_of(outcome)
    assert set(found) >= KEYS
    assert (found["task"], found["structure"], found["state"]) == ("arithmetic", structure, state)
    assert (found["student"], found["seed"], found["iterations"]) == ("tiny", 0, 2)
    assert found["teacher"]["model"] == "scripted"
    assert found["stop_reason"] == "all 2 iterations done"
    assert [(v["iteration"], v["rows"], v["n"]) for v in found["val"]] == [(0, 0, 12), (1, 12, 12), (2, 24, 12)]
    assert found["rows_accepted"] == 24
    assert found["calls"] > 0
    assert set(found["test"]) == {"base", "best", "gain", "score_gains"}
    for part in ("base", "best"):
        assert set(found["test"][part]) == {"accuracy", "n", "low", "high", "scores"}
        assert found["test"][part]["n"] == 12
        assert found["test"][part]["scores"] == {}, "arithmetic is right or wrong"
    assert set(found["test"]["gain"]) == {"value", "low", "high"}
    assert len(found["skills"]) == 12
    assert all({"base", "best", "n"} <= set(s) and s["n"] == 1 for s in found["skills"].values())
    assert set(found["seconds"]) >= {"teach", "train", "evaluate", "total"}
    assert json.loads((outcome.run_dir / "summary.json").read_text()) == found


@pytest.mark.parametrize(("structure", "state"), TEACHERS)
def test_the_rows_are_those_of_the_plan(structure: str, state: bool, episode: Any) -> None:
    for number in (1, 2):
        folder = episode(structure, state).run_dir / f"iterations/{number:03d}"
        plan = only(folder, "plan.jsonl", Plan)
        rows = read_jsonl(max(folder.glob("accepted-*.jsonl")), Row)
        wanted = {r.id: r.count for r in plan.requests}
        assert {name: sum(row.provenance.request == name for row in rows) for name in wanted} == wanted
        assert sum(wanted.values()) == len(rows) == 12


@pytest.mark.parametrize(("structure", "state"), TEACHERS)
def test_everything_of_every_iteration_is_in_the_run_folder(structure: str, state: bool, episode: Any) -> None:
    run_dir = episode(structure, state).run_dir
    for number in (1, 2):
        folder = run_dir / f"iterations/{number:03d}"
        last = max(int(path.stem.split("-")[1]) for path in folder.glob("accepted-*.jsonl"))
        for name, model in {
            "observation": Observation,
            "plan": Plan,
            "predictions": Prediction,
            f"generated-{last}": Row,
            f"accepted-{last}": Row,
            f"rejected-{last}": Rejected,
        }.items():
            read_jsonl(folder / f"{name}.jsonl", model)
    for name in ("config.yaml", "manifest.json", "skills.json", "ledger.jsonl", "timings.jsonl"):
        assert (run_dir / name).stat().st_size
    assert len(list(run_dir.glob("students/*/train.json"))) == 2
    assert not list(run_dir.rglob("*.partial")) + list(run_dir.rglob("*.tmp"))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_state_nothing_measured_is_shown(structure: str, episode: Any) -> None:
    for number in (1, 2):
        seen = only(episode(structure, False).run_dir, f"iterations/{number:03d}/observation.jsonl", Observation)
        assert (seen.state, seen.accuracy, seen.n, seen.reward, seen.history, seen.predictions) == (
            *(False, None, 0, None),
            *([], []),
        )
        for skill in seen.skills:
            assert (skill.accuracy, skill.n, skill.reward, skill.rewards) == (None, 0, None, [])
            assert all(leaf.accuracy is None for leaf in skill.subskills)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_without_state_no_prompt_holds_a_val_question_or_an_answer_of_the_student(
    structure: str, episode: Any
) -> None:
    run_dir = episode(structure, False).run_dir
    held_out = {p.question for p in read_jsonl(run_dir / "iterations/000/predictions.jsonl", Prediction)}
    for path in run_dir.glob("iterations/*/feedback.jsonl"):
        text = path.read_text()
        assert [q for q in held_out if json.dumps(q)[1:-1] in text] == []


@pytest.mark.parametrize("structure", STRUCTURES)
def test_with_state_the_observation_is_the_last_evaluation(structure: str, episode: Any) -> None:
    run_dir = episode(structure, True).run_dir
    seen = only(run_dir, "iterations/002/observation.jsonl", Observation)
    assert seen.predictions == read_jsonl(run_dir / "iterations/001/predictions.jsonl", Prediction)
    assert [(point.iteration, point.rows) for point in seen.history] == [(0, 0), (1, 12)]
    assert len(seen.skills) == 12
    assert sum(skill.rows for skill in seen.skills) == (0 if structure == "open_ended" else 12) or (
        structure == "open_ended"
    )


def test_the_tree_grows_by_what_was_planned(episode: Any) -> None:
    run_dir = episode("skill_tree", True).run_dir
    plan = only(run_dir, "iterations/001/plan.jsonl", Plan)
    seen = only(run_dir, "iterations/002/observation.jsonl", Observation)
    leaves = {(s.name, leaf.name): (leaf.allocation, leaf.rows) for s in seen.skills for leaf in s.subskills}
    assert leaves == {(r.skill, r.subskill): (r.count, r.count) for r in plan.requests}
    answers = read_jsonl(run_dir / "iterations/001/row_answers.jsonl", Prediction)
    leaf_of = {
        row.id: (row.skill, row.subskill) for row in read_jsonl(run_dir / "iterations/001/accepted-0.jsonl", Row)
    }
    for skill, leaf in ((s.name, leaf) for s in seen.skills for leaf in s.subskills):
        right = [answer.correct for answer in answers if leaf_of[answer.id] == (skill, leaf.name)]
        assert (leaf.n, leaf.accuracy) == (len(right), sum(right) / len(right))


@pytest.mark.parametrize("known", ["keep", "drop"])
def test_rows_are_shown_to_the_student_they_are_for(
    known: str, stub: Any, stub_config: Any, tmp_path: Path
) -> None:
    asked: list[Path | None] = []
    stub.load = lambda adapter: asked.append(adapter)
    stub.predict = lambda prompts, images=None, progress=None: ["Answer: 1"] * len(prompts)
    settings = ("teacher.checks.names=[student]", f"teacher.checks.student_known={known}", "budget.iterations=1")
    found = summary_of(run(stub_config(*settings), tmp_path / "run"))
    assert found["rows"][0]["asked"] == 12 and None in asked
    rows = list(read_jsonl(tmp_path / "run/iterations/001/accepted-0.jsonl", Row))
    assert all(isinstance(r.extra["known"], bool) for r in rows)
    assert known == "keep" or not any(r.extra["known"] for r in rows)


def test_training_may_go_on_from_the_last_student(stub_config: Any, tmp_path: Path) -> None:
    run(stub_config("student.train.start=last"), tmp_path / "run")
    trained = [json.loads(p.read_text())["rows"] for p in (tmp_path / "run").glob("students/*/train.json")]
    assert trained == [12, 12]


def test_an_absent_key_is_told_before_any_work(
    stub: Any, stub_config: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MissingDependencyError, match="OPENAI_API_KEY"):
        run(stub_config("teacher.llm.model=openai:gpt-4o-mini"), tmp_path / "run")
    assert stub.asked == []


# Another teacher; size; the graph without a checkpointer


def heavy_teacher(rows: int) -> StateGraph[TeacherState, EpisodeConfig, TeacherInput, TeacherOutput]:
    """A teacher of another's making: so many rows per iteration, no model."""

    def teach(state: TeacherState, runtime: Runtime[EpisodeConfig]) -> TeacherState:
        store, iteration = Store(Path(state["run_dir"])), state["iteration"]
        request = DataRequest(id="r0", skill="addition", count=rows)
        source = Provenance(iteration=iteration, request="r0", model="none", prompt="none", prompt_hash="0")
        made = [
            Row(
                id=f"{iteration}-{n}",
                question=f"What is {iteration} + {n}?",
                solution=f"{iteration} + {n} = {iteration + n}",
                answer=str(iteration + n),
                skill="addition",
                provenance=source,
            )
            for n in range(rows)
        ]
        name = f"iterations/{iteration:03d}"
        return {
            "plan": store.save(f"{name}/plan.jsonl", [Plan(policy="other", requests=[request])]),
            "accepted": store.save(f"{name}/accepted.jsonl", made),
            "rejected": store.save(f"{name}/rejected.jsonl", []),
        }

    graph = StateGraph(
        TeacherState, context_schema=EpisodeConfig, input_schema=TeacherInput, output_schema=TeacherOutput
    )
    graph.add_node("teach_all", teach)
    graph.add_edge(START, "teach_all")
    graph.add_edge("teach_all", END)
    return graph


def test_another_teacher_graph_can_take_the_place(stub_config: Any, tmp_path: Path) -> None:
    found = summary_of(
        run(stub_config("budget.rows_per_iteration=30"), tmp_path / "run", teacher=heavy_teacher(30))
    )
    assert [v["rows"] for v in found["val"]] == [0, 30, 60]


def test_the_checkpoints_stay_small(stub_config: Any, tmp_path: Path) -> None:
    """Ten iterations of 2,000 rows: state holds references, the rows lie in files."""
    run_dir = tmp_path / "run"
    config = stub_config("budget.iterations=10", "budget.rows_per_iteration=2000", "structure=open_ended")
    found = summary_of(run(config, run_dir, teacher=heavy_teacher(2000).compile()))
    assert found["rows_accepted"] == 20_000
    assert sum(path.stat().st_size for path in run_dir.glob("checkpoints.sqlite*")) < 1_000_000
    assert sum(path.stat().st_size for path in run_dir.glob("iterations/*/accepted.jsonl")) > 3_000_000


def test_the_graph_runs_from_an_empty_input(stub_config: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """As a graph server starts it: no input, no checkpointer of ours."""
    monkeypatch.chdir(tmp_path)
    config = stub_config("budget.iterations=1")
    graph = build_episode(structure="skill_list").compile()
    asyncio.run(graph.ainvoke({}, context=config))
    (summary,) = tmp_path.glob("runs/studio/*/summary.json")
    assert json.loads(summary.read_text())["iterations"] == 1
