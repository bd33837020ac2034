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
