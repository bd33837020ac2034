"""An episode run as Studio runs it: the context comes with each call, and none is kept with the thread."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dataenvgym.envs.errors import RunFolderError
from dataenvgym.graphs.config import EpisodeConfig, load_config
from dataenvgym.graphs.episode import build_episode

SMALL = ("student.name=tiny", "student.generation.max_new_tokens=4", "task.val_size=1", "task.test_size=1")


def config(*changes: str) -> EpisodeConfig:
    return load_config(None, [*SMALL, "structure=skill_list", "budget.rows_per_iteration=12", *changes])


async def asked(run_dir: Path) -> tuple[Any, dict[str, Any]]:
    """An episode that waits for its first plan to be approved, and its thread."""
    graph = build_episode(structure="skill_list").compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    given = config("approve=true", "budget.iterations=1")
    found = await graph.ainvoke({"run_dir": str(run_dir)}, thread, context=given)
    assert found["__interrupt__"]
    return graph, thread


def test_a_resume_under_another_config_is_refused_and_names_what_differs(tmp_path: Path) -> None:
    graph, thread = asyncio.run(asked(tmp_path))
    with pytest.raises(RunFolderError, match=r"another config: seed\..*config\.yaml"):
        asyncio.run(graph.ainvoke(Command(resume="yes"), thread, context=config("seed=3")))


def test_a_resume_under_its_own_config_goes_on_and_budgets_may_change(tmp_path: Path) -> None:
    graph, thread = asyncio.run(asked(tmp_path))
    found = asyncio.run(
        graph.ainvoke(Command(resume="yes"), thread, context=config("approve=true", "budget.rows=12"))
    )
    assert found["stop_reason"] == "row budget of 12 used"


def test_the_folder_of_another_config_is_not_written_into(tmp_path: Path) -> None:
    asyncio.run(asked(tmp_path))
    graph = build_episode(structure="skill_list").compile()
    with pytest.raises(RunFolderError, match=r"another config: .*seed.*name another run_dir"):
        asyncio.run(graph.ainvoke({"run_dir": str(tmp_path)}, context=config("seed=3")))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def begun(graph: Any, thread: str, given: dict[str, str], context: Any) -> dict[str, Any]:
    """The state of an episode that waits for its first plan to be approved."""
    found: dict[str, Any] = await graph.ainvoke(given, {"configurable": {"thread_id": thread}}, context=context)
    return found


def test_each_thread_has_a_folder_of_its_own(here: Path) -> None:
    async def both() -> list[dict[str, Any]]:
        graph = build_episode(structure="skill_list").compile(checkpointer=InMemorySaver())
        return [
            await begun(graph, "one", {}, config("approve=true")),
            await begun(graph, "../two", {}, config("approve=true", "seed=3")),
        ]

    one, two = asyncio.run(both())
    assert one["run_dir"] == "runs/studio/one"
    assert {path.name for path in (here / "runs/studio").iterdir()} == {"one", Path(two["run_dir"]).name}
    assert (load_config(here / two["run_dir"] / "config.yaml")).seed == 3
    assert "run_dir was not given: the files are in runs/studio/one" in one["notices"]


def test_an_episode_without_a_thread_has_a_new_folder_each_time(here: Path) -> None:
    graph = build_episode(structure="skill_list").compile()
    for seed in (1, 2):
        asyncio.run(graph.ainvoke({}, context=config("budget.iterations=1", f"seed={seed}")))
    assert len(list(here.glob("runs/studio/*/summary.json"))) == 2


def test_the_defaults_that_were_taken_are_in_the_state(here: Path) -> None:
    async def notices(run_dir: str, context: dict[str, Any]) -> list[str]:
        graph = build_episode(structure="skill_list").compile(checkpointer=InMemorySaver())
        given = {"task": {"val_size": 1, "test_size": 1}, "student": {"name": "tiny"}, "approve": True}
        found = await begun(graph, "x", {"run_dir": str(here / run_dir)}, {**given, **context})
        return list(found["notices"])

    (said,) = [text for text in asyncio.run(notices("empty", {})) if "default" in text]
    assert said == (
        "defaults taken, since the context does not set them: task.name arithmetic, teacher.llm.model scripted, "
        "budget.iterations 3, budget.rows_per_iteration 72, seed 0"
    )
    budget = {"iterations": 1, "rows_per_iteration": 12}
    llm = {"model": "scripted"}
    full = {"budget": budget, "teacher": {"llm": llm}, "seed": 0, "task": {"name": "arithmetic", "val_size": 1}}
    assert not [text for text in asyncio.run(notices("full", full)) if "default" in text]
