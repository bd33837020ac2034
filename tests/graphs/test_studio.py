"""LangGraph Studio: a teacher alone, run in this process."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from studio_files import SMALL, TEACHER, edited, rows_in, teach

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.policies import POLICIES
from dataenvgym.envs.config import StudentConfig, TaskConfig
from dataenvgym.envs.errors import ConfigError, DataError, RunFolderError, UnknownNameError
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.students import STUDENTS
from dataenvgym.envs.tasks import TASKS
from dataenvgym.envs.types import Plan
from dataenvgym.graphs import open_ended, resources, skill_list, skill_tree
from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.graphs.episode import build_episode
from dataenvgym.graphs.studio import teacher_alone


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where teachers alone make their folders."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


@pytest.mark.parametrize("module", [open_ended, skill_list, skill_tree])
def test_a_teacher_alone_needs_neither_a_run_nor_a_student(
    module: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> Any:
        raise AssertionError("a student was asked for")

    monkeypatch.setattr(resources, "student_of", none)
    checks = {"names": ["format", "answer", "student"]}
    found = teach(module.alone.compile(), {}, {**SMALL, "teacher": {"checks": checks}})
    assert found["shown"]["accepted"] == 6
    assert len(found["shown"]["plan"]) == len(found["shown"]["rows"]) == 6
    assert Path(found["folder"]).is_relative_to(here / "runs/debug")


def test_a_saved_observation_is_taught_from_and_its_run_stays_as_it_was(episode: Any, here: Path) -> None:
    run = episode("skill_list", True).run_dir
    before = files(run)
    found = teach(skill_list.alone.compile(), {"run": str(run), "iteration": 2})
    assert files(run) == before
    old, new = rows_in(run, 1), rows_in(found["folder"], 2)
    assert {row.provenance.iteration for row in new} == {2}
    assert not {row.question for row in old} & {row.question for row in new}, "it knows the rows before"
    assert new == rows_in(run, 2), "the same observation, config and replies give the same rows"
    again = teach(skill_list.alone.compile(), {"run": str(run), "iteration": 2})
    assert again["folder"] != found["folder"]


def test_the_last_observation_is_the_default(episode: Any, here: Path) -> None:
    found = teach(skill_list.alone.compile(), {"run": str(episode("skill_list", True).run_dir)})
    assert rows_in(found["folder"], 3)


def test_the_config_is_the_runs_with_what_the_context_says_of_the_teacher(episode: Any, here: Path) -> None:
    run = episode("skill_list", True).run_dir
    context = {
        "task": {"val_size": 7},
        "teacher": {"policy": "llm", "rows_per_call": 1},
        "budget": {"rows_per_iteration": 3},
    }
    found = teach(skill_list.alone.compile(), {"run": str(run), "iteration": 1}, context)
    folder = Path(found["folder"])
    of_run, config = load_config(run / "config.yaml"), load_config(folder / "teacher.yaml")
    assert (config.task, config.student) == (of_run.task, of_run.student)
    assert (config.teacher.policy, config.teacher.rows_per_call) == ("llm", 1)
    assert config.teacher.refill_rounds == of_run.teacher.refill_rounds
    assert read_jsonl(folder / "iterations/001/plan.jsonl", Plan)[0].policy == "llm"
    assert len(rows_in(folder)) == 3


def test_a_given_plan_takes_the_planners_place(here: Path) -> None:
    plan = {"policy": "by hand", "requests": [{"id": "r0", "skill": "rounding", "count": 4}]}
    found = teach(skill_list.alone.compile(), {"given_plan": plan}, SMALL)
    assert [row.skill for row in rows_in(found["folder"])] == ["rounding"] * 4


def test_going_on_needs_no_context(here: Path) -> None:
    graph = skill_list.alone.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    asked = teach(graph, {}, {**SMALL, "approve": True}, config=thread)
    plan = asked["__interrupt__"][0].value["plan"]
    found = teach(graph, Command(resume=edited(plan, "rounding", 2)), config=thread)
    assert [row.skill for row in rows_in(found["folder"])] == ["rounding"] * 2
    config = load_config(Path(found["folder"]) / "teacher.yaml")
    assert (config.student.name, config.task.val_size) == ("tiny", 1)


def test_rejected_rows_are_shown_with_their_reason(here: Path) -> None:
    context = {
        **SMALL,
        "teacher": {"llm": {"scripted": {"duplicate": 0.9}}, "refill_rounds": 1},
        "budget": {"rows_per_iteration": 36},
    }
    shown = teach(skill_list.alone.compile(), {}, context)["shown"]
    assert shown["rejected"]["duplicate"] > 0
    assert any(reason.startswith("duplicate | ") for reason in shown["reasons"])


def test_a_teacher_of_ones_own_can_be_run_alone(here: Path) -> None:
    def two_rows(observation: Any) -> list[dict[str, str]]:
        return [
            {"question": f"What is {n} + 1?", "solution": "Count.", "answer": str(n + 1), "skill": "addition"}
            for n in (1, 2)
        ]

    found = teach(teacher_alone(two_rows, "skill_list").compile(), {}, SMALL)
    assert found["shown"]["rows"] == ["addition | What is 1 + 1? | -> 2", "addition | What is 2 + 1? | -> 3"]


FAULTS: list[tuple[dict[str, Any], dict[str, Any], type[Exception], str]] = [
    ({"run": "nowhere"}, {}, RunFolderError, "there is no folder"),
    ({"run": "."}, {}, RunFolderError, "no run folder"),
    ({"run": "RUN", "iteration": 9}, {}, RunFolderError, "It has: 1, 2, 3"),
    ({"iteration": 2}, {}, ConfigError, "needs the folder of a run"),
    ({"run": "RUN"}, {"teacher": {"policy": "llmm"}}, UnknownNameError, "Did you mean 'llm'"),
    ({"given_plan": {"requests": "all"}}, SMALL, DataError, "not a plan"),
    (
        {"given_plan": {"requests": [{"skill": "adition", "count": 2}]}},
        SMALL,
        DataError,
        "Did you mean 'addition'",
    ),
    ({"given_plan": "all"}, SMALL, ConfigError, "given_plan: expected a plan, got 'all'"),
    ({"run": 5}, {}, ConfigError, "run: expected the folder of a run, as text, got 5"),
    ({"iteration": "last"}, {}, ConfigError, "iteration: expected a whole number, got 'last'"),
    ({}, {"teacher": {"llm": {"temprature": 1}}}, ConfigError, "Did you mean 'teacher.llm.temperature'"),
    ({}, {"budgt": {}}, ConfigError, "budgt: unknown key. Did you mean 'budget'"),
]


@pytest.mark.parametrize(("given", "context", "error", "said"), FAULTS)
def test_a_mistake_is_named(
    given: dict[str, Any], context: dict[str, Any], error: type[Exception], said: str, episode: Any, here: Path
) -> None:
    run = str(episode("skill_list", True).run_dir)
    with pytest.raises(error, match=said):
        teach(skill_list.alone.compile(), {k: run if v == "RUN" else v for k, v in given.items()}, context)


def test_an_episode_needs_the_name_of_a_folder(here: Path) -> None:
    with pytest.raises(ConfigError, match="run_dir: expected the path of a folder, as text, got 5"):
        teach(build_episode(None, "skill_list").compile(), {"run_dir": 5}, SMALL)


def test_an_edited_plan_that_cannot_be_generated_is_asked_again(here: Path) -> None:
    """As on the command line: an unknown skill, no rows, more than the budget."""
    graph = skill_list.alone.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    asked = teach(graph, {}, {**SMALL, "approve": True}, config=thread)
    plan = asked["__interrupt__"][0].value["plan"]
    for skill, count, why in (
        ("roundin", 2, "Did you mean 'rounding'"),
        ("rounding", 0, "asks for no rows"),
        ("rounding", 7, "asks for 7 rows"),
    ):
        again = teach(graph, Command(resume=edited(plan, skill, count)), config=thread)
        assert why in again["__interrupt__"][0].value["refused"]
    found = teach(graph, Command(resume=edited(plan, "rounding", 2)), config=thread)
    assert [row.skill for row in rows_in(found["folder"])] == ["rounding"] * 2


def test_a_run_of_another_structure_is_sent_to_its_graph(episode: Any, here: Path) -> None:
    with pytest.raises(ConfigError, match="skill_list_teacher"):
        teach(skill_tree.alone.compile(), {"run": str(episode("skill_list", True).run_dir)})


def test_a_damaged_run_is_refused(episode: Any, here: Path) -> None:
    run = here / "copy"
    shutil.copytree(episode("skill_list", True).run_dir, run)
    accepted = run / "iterations/001/accepted-0.jsonl"
    accepted.write_text("".join(accepted.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(RunFolderError, match="accepted rows, expected"):
        teach(skill_list.alone.compile(), {"run": str(run), "iteration": 2})


def test_unreadable_replies_of_a_run_are_left_out(episode: Any, here: Path) -> None:
    run = here / "copy"
    shutil.copytree(episode("skill_list", True).run_dir, run)
    (run / "responses.sqlite").write_bytes(b"half a file")
    found = teach(skill_list.alone.compile(), {"run": str(run), "iteration": 1})
    assert found["shown"]["accepted"] == 12


def test_the_names_suggested_in_the_form_are_the_registered_ones() -> None:
    def suggested(model: Any, field: str) -> list[str]:
        return list(model.model_json_schema()["properties"][field]["examples"])

    assert suggested(TaskConfig, "name") == list(TASKS)
    assert suggested(StudentConfig, "name") == list(STUDENTS)
    assert set(suggested(TeacherConfig, "policy")) == {policy.name for policy in POLICIES.values()}


def test_the_fields_of_the_form_name_nodes_that_exist() -> None:
    nodes = {*TEACHER, *skill_tree.graph.nodes}
    for name, field in EpisodeConfig.model_json_schema()["properties"].items():
        assert set(field.get("langgraph_nodes", ())) <= nodes, name


def test_stopping_the_server_closes_the_students(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette", reason="needs: pip install 'dataenvgym[studio]'")
    from dataenvgym.commands.webapp import app, lifespan

    closed: list[bool] = []

    class Student:
        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(resources, "_objects", {("student", "x"): Student()})

    async def serve() -> None:
        async with lifespan(app):
            assert not closed

    asyncio.run(serve())
    assert closed == [True]
