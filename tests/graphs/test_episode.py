"""The episode graph: what it leaves in the run folder, what stops it, what each teacher may know."""

import asyncio
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from dataenvgym.agents.data_generator import NO_ROW
from dataenvgym.envs.errors import ConfigError, MissingDependencyError, RunFolderError, TeacherError
from dataenvgym.envs.observation import Observation
from dataenvgym.envs.store import Store, read_jsonl
from dataenvgym.envs.types import DataRequest, Plan, Prediction, Provenance, Rejected, Row
from dataenvgym.graphs.config import STRUCTURES, EpisodeConfig
from dataenvgym.graphs.episode import build_episode, stop_reason
from dataenvgym.graphs.live import task_of
from dataenvgym.graphs.state import Step, TeacherInput, TeacherOutput, TeacherState
from dataenvgym.runs.run import Outcome, run

TEACHERS = [(structure, state) for structure in STRUCTURES for state in (True, False)]
KEYS = {
    *("task", "structure", "state", "student", "teacher", "seed", "iterations", "rows_accepted", "rows_rejected"),
    *("calls", "stop_reason", "val", "skills", "test", "seconds"),
}


def summary_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.summary is not None
    return outcome.summary


def only(run_dir: Path, name: str, model: Any) -> Any:
    found = read_jsonl(run_dir / name, model)
    assert len(found) == 1
    return found[0]


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
    assert set(found["test"]) == {"base", "best", "gain"}
    for part in ("base", "best"):
        assert set(found["test"][part]) == {"accuracy", "n", "low", "high"}
        assert found["test"][part]["n"] == 12
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
    assert all(leaf.accuracy is not None for s in seen.skills for leaf in s.subskills)


def test_test_is_scored_once_and_last(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    config = stub_config()
    events: list[dict[str, Any]] = []
    run(config, tmp_path / "run", on_event=events.append)
    held_out = {task_of(config).domain.prompt(item) for item in task_of(config).test}
    with_test = [number for number, prompts in enumerate(stub.asked) if held_out & set(prompts)]
    assert with_test == [len(stub.asked) - 2, len(stub.asked) - 1], "the base and the best, after all else"
    phases = [e["name"] for e in events if e["event"] == "phase"]
    assert phases == ["reset", "evaluate", "train", "evaluate", "train", "evaluate", "test"]
    shown = (tmp_path / "run").glob("iterations/**/*.jsonl")
    text = "".join(path.read_text() for path in shown)
    assert [item.id for item in task_of(config).test if item.id in text] == []


def test_the_summary_reports_the_gain_of_the_best_student(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    found = summary_of(run(stub_config("budget.rows_per_iteration=50"), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == [0, 50, 100]
    assert found["val"][0]["accuracy"] == 0
    assert found["val"][2]["accuracy"] == found["test"]["best"]["accuracy"] == 1
    assert (found["best_iteration"], found["test"]["gain"]["value"]) == (2, 1)
    assert all((skill["base"], skill["best"]) == (0, 1) for skill in found["skills"].values())


@pytest.mark.parametrize(
    ("settings", "rows", "reason"),
    [
        (["budget.iterations=1"], [0, 12], "all 1 iterations done"),
        (["budget.iterations=9", "budget.rows=30"], [0, 12, 24, 30], "row budget of 30 used"),
        (["budget.iterations=9", "budget.rows=5"], [0, 5], "row budget of 5 used"),
        (
            ["budget.iterations=9", "budget.target=0.5", "budget.rows_per_iteration=100"],
            [0, 100],
            "target accuracy 0.5",
        ),
        (
            ["budget.iterations=9", "budget.patience=2", "budget.rows_per_iteration=1"],
            [0, 1, 2],
            "no gain on val for 2",
        ),
    ],
)
def test_budgets_are_cumulative_and_the_reason_is_told(
    settings: list[str], rows: list[int], reason: str, stub_config: Any, tmp_path: Path
) -> None:
    found = summary_of(run(stub_config(*settings), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == rows
    assert reason in found["stop_reason"]


def test_patience_counts_from_the_best_iteration(stub_config: Any) -> None:
    def steps(*accuracies: float) -> list[Any]:
        return [
            Step(
                iteration=i,
                accuracy=a,
                rows=i,
                student=None,
                predictions=None,
                n=9,
                plan=None,
                accepted=None,
                rejected=None,
            )  # type: ignore[typeddict-item]
            for i, a in enumerate(accuracies)
        ]

    config = stub_config("budget.iterations=9", "budget.patience=2")
    assert stop_reason(config, steps(0.1, 0.0)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.1)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.3, 0.1)) is None
    assert stop_reason(config, steps(0.1, 0.2, 0.1, 0.2)) == "no gain on val for 2 iterations"


def test_a_base_that_meets_the_target_is_not_taught(stub: Any, stub_config: Any, tmp_path: Path) -> None:
    stub._rows = 100
    stub.load = lambda adapter: None
    found = summary_of(run(stub_config("budget.target=0.9"), tmp_path / "run"))
    assert (found["iterations"], found["rows_accepted"], found["calls"]) == (0, 0, 0)
    assert found["test"]["gain"]["value"] == 0


def test_a_teacher_that_delivers_nothing_leaves_the_student_as_it_was(stub_config: Any, tmp_path: Path) -> None:
    settings = ("teacher.llm.scripted.drop=1", "teacher.llm.content_attempts=1", "teacher.refill_rounds=0")
    found = summary_of(run(stub_config(*settings), tmp_path / "run"))
    assert [v["rows"] for v in found["val"]] == [0, 0, 0]
    assert not (tmp_path / "run/students").exists()
    assert found["rows_rejected"] == 24
    assert [(r["asked"], r["received"], r["rejected"], r["diversity"]) for r in found["rows"]] == [
        (12, 0, {"schema": 12}, None)
    ] * 2


def test_every_row_of_an_iteration_is_accounted_for(stub_config: Any, tmp_path: Path) -> None:
    errs = ("duplicate=0.3", "wrong_answer=0.2", "malformed=0.2")
    settings = [f"teacher.llm.scripted.{share}" for share in errs]
    checks = "teacher.checks.names=[format, answer, duplicate, contamination, solve]"
    found = summary_of(run(stub_config(*settings, checks, "teacher.rows_per_call=4"), tmp_path / "run"))
    assert [r["accepted"] for r in found["rows"]] == [v["rows"] - w["rows"] for w, v in pairwise(found["val"])]
    total: Counter[str] = Counter()
    for line in found["rows"]:
        by_check = Counter(line["rejected"])
        total += by_check
        judged = sum(count for check, count in by_check.items() if check not in NO_ROW)
        assert line["asked"] == 12 and line["received"] == line["accepted"] + judged
        assert 0 <= line["refilled"] <= line["accepted"] and 0 < line["diversity"] < 1
    assert sum(total.values()) == found["rows_rejected"] and {"solve", "schema"} <= set(total)
    assert sum(line["refilled"] + line["salvaged"] for line in found["rows"]) > 0


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


# Skills


def test_discovered_skills_are_the_gold_ones(stub_config: Any, tmp_path: Path) -> None:
    config = stub_config("skills=llm", "budget.iterations=1")
    run(config, tmp_path / "run")
    found = json.loads((tmp_path / "run/skills.json").read_text())
    assert found == {item.id: item.skill for item in task_of(config).val}


def test_saved_skills_are_used_again(stub_config: Any, tmp_path: Path) -> None:
    config = stub_config("budget.iterations=1")
    saved = {item.id: "even" if number % 2 else "odd" for number, item in enumerate(task_of(config).val)}
    path = tmp_path / "skills.json"
    path.write_text(json.dumps(saved))
    run(stub_config("budget.iterations=1", f"skills={path}"), tmp_path / "run")
    assert json.loads((tmp_path / "run/skills.json").read_text()) == saved
    plan = only(tmp_path / "run", "iterations/001/plan.jsonl", Plan)
    assert {request.skill for request in plan.requests} == {"even", "odd"}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("missing", ConfigError, "names no skill for 1 val instances, e.g. arithmetic/val/addition/000"),
        ("[1, 2]", RunFolderError, "JSON object"),
        ("{", RunFolderError, "cannot be read as skills"),
        (None, RunFolderError, "cannot be read as skills"),
    ],
)
def test_saved_skills_that_do_not_fit_are_refused(
    content: str | None, error: type[Exception], said: str, stub_config: Any, tmp_path: Path
) -> None:
    path = tmp_path / "skills.json"
    config = stub_config(f"skills={path}")
    if content == "missing":
        content = json.dumps({item.id: "any" for item in task_of(config).val if item.skill != "addition"})
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=said):
        run(config, tmp_path / "run")


# Approval


def test_approved_and_edited_plans_are_generated(stub_config: Any, tmp_path: Path) -> None:
    asked: list[Any] = []

    def approve(question: Any) -> Any:
        asked.append(question)
        if len(asked) == 1:
            return "yes"
        plan = question["plan"]
        return {**plan, "requests": [{**plan["requests"][0], "count": 2}]}

    found = summary_of(run(stub_config("approve=true"), tmp_path / "run", approve=approve))
    assert [v["rows"] for v in found["val"]] == [0, 12, 14]
    assert len(asked) == 2


def test_a_refused_plan_ends_the_run_and_is_asked_for_again(stub_config: Any, tmp_path: Path) -> None:
    from dataenvgym.runs.run import resume

    config = stub_config("approve=true", "budget.iterations=1")
    with pytest.raises(TeacherError, match="refused"):
        run(config, tmp_path / "run", approve=lambda _: "no")
    assert not list((tmp_path / "run").glob("iterations/001/generated*"))
    outcome = resume(tmp_path / "run", approve=lambda _: "yes")
    assert summary_of(outcome)["rows_accepted"] == 12


def test_without_anyone_to_ask_the_run_stops_and_can_go_on(stub_config: Any, tmp_path: Path) -> None:
    from dataenvgym.runs.run import resume

    assert run(stub_config("approve=true", "budget.iterations=1"), tmp_path / "run").summary is None
    assert summary_of(resume(tmp_path / "run", approve=lambda _: "yes"))["rows_accepted"] == 12


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
    assert json.loads((tmp_path / "runs/arithmetic-skill_list-seed0/summary.json").read_text())["iterations"] == 1
