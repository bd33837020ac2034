"""Without state no prompt says anything of the student: every prompt of the baseline, word for word.

Where a prompt is changed on purpose, delete its file in `no_state_prompts/` and run this for a new one.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.agents.prompts import PromptTemplate
from dataenvgym.graphs.config import STRUCTURES, load_config
from dataenvgym.graphs.rehearsal import offline, rehearsed_input
from dataenvgym.graphs.teacher import build_teacher

GOLDEN = Path(__file__).with_name("no_state_prompts")
SMALL = ("task.val_size=1", "task.test_size=1", "student.name=tiny", "student.generation.max_new_tokens=4")
MEASURED = (
    "got wrong",
    "mistake",
    "accuracy",
    "student's",
    "student:",
    "failed:",
    "reward",
    "correct answers",
    "evaluated",
)


@pytest.fixture(scope="module", params=["arithmetic", "functions"])
def prompts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str]]:
    """The first prompt of each name and structure that the baseline sends for a task."""
    found: dict[str, str] = {}
    render = PromptTemplate.render

    def noted(self: PromptTemplate, **variables: Any) -> Any:
        prompt = render(self, **variables)
        found.setdefault(f"{now}-{self.name.rpartition('/')[2]}", f"{prompt.system}\n\n{prompt.text}\n")
        return prompt

    async def teach(structure: str) -> None:
        choice = [
            f"task.name={request.param}",
            f"structure={structure}",
            "state=false",
            "budget.rows_per_iteration=12",
        ]
        config = offline(load_config(None, [*SMALL, *choice]))
        start: Any = await rehearsed_input(config, tmp_path_factory.mktemp("teach"))
        await build_teacher(config.structure).compile().ainvoke(start, context=config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptTemplate, "render", noted)
        for now in STRUCTURES:
            asyncio.run(teach(now))
    return str(request.param), found


def test_they_are_what_they_were(prompts: tuple[str, dict[str, str]]) -> None:
    task, found = prompts
    GOLDEN.mkdir(exist_ok=True)
    missing = [name for name in found if not (GOLDEN / f"{task}-{name}.txt").exists()]
    for name in missing:
        (GOLDEN / f"{task}-{name}.txt").write_text(found[name])
    assert not missing, "they were missing and are written; look at them"
    for name, text in found.items():
        file = GOLDEN / f"{task}-{name}.txt"
        assert text == file.read_text(), file.name
    assert {path.stem for path in GOLDEN.glob(f"{task}-*.txt")} == {f"{task}-{name}" for name in found}


def test_they_say_nothing_of_the_student(prompts: tuple[str, dict[str, str]]) -> None:
    for name, text in prompts[1].items():
        assert [words for words in MEASURED if words in text.casefold()] == [], name


def test_they_name_no_policy(prompts: tuple[str, dict[str, str]]) -> None:
    reasons = [line for text in prompts[1].values() for line in text.splitlines() if line.startswith("Reason:")]
    assert reasons and not [line for line in reasons if "coin" in line]
