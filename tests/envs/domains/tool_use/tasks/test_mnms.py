"""The loader of M&Ms: official splits, an exemplar pool, alternative plans, the paper's prompt, honest errors."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.tool_use.calls import read_calls
from dataenvgym.envs.domains.tool_use.mnms_plans import SCORES, is_right
from dataenvgym.envs.domains.tool_use.mnms_tools import TOOLS
from dataenvgym.envs.domains.tool_use.tasks import mnms
from dataenvgym.envs.errors import DataError, MissingDependencyError
from dataenvgym.envs.tasks import Task, hub, load_task
from dataenvgym.envs.tasks.records import Splits
from dataenvgym.envs.types import Instance

SAMPLES = Path(os.environ.get("DATAENVGYM_SAMPLES", Path(__file__).parents[6] / "shared" / "data"))


def row(number: int, **changes: Any) -> dict[str, Any]:
    first = {"id": 0, "name": "image generation", "args": {"text": f"a {number}"}}
    second = {"id": 1, "name": "image captioning", "args": {"image": "<node-0>.image"}}
    other = {"id": 1, "name": "image classification", "args": {"image": "<node-0>.image"}}
    return {
        "id": number,
        "user_request": f"Draw {number} and tell me what you see.",
        "plan_str": repr([first, second]),
        "code_str": "",
        "alt_plans_str": repr([[first, other]]) if number % 2 else None,
        **changes,
    }


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [row(n) for n in range(start, start + count)]


def write(path: Path, data: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in data), encoding="utf-8")
    return path


def folder(path: Path) -> Path:
    """As the data set has it: the filtered ones are in both files."""
    write(path / "test_human_verified.json", rows(30))
    write(path / "test_human_verified_filtered.json", rows(9))
    write(path / "random_10k.json", [{"other": 1}])
    return path


def load(path: Path, **more: Any) -> Task:
    return load_task(TaskConfig(name="mnms", path=str(path), **more))


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


def numbers(split: tuple[Instance, ...]) -> set[int]:
    return {one.extra["mnms_id"] for one in split}


def check_gold(task: Task) -> None:
    """What is trained as the gold answer is read back as it, and scores 1 throughout."""
    items = everything(task)
    found = task.domain.score(items, [task.domain.example(one).completion for one in items])
    assert [one.answer for one in found] == [one.answer for one in items]
    assert all(one.correct and one.scores == dict.fromkeys(SCORES, 1.0) for one in found)


def test_val_is_what_is_not_in_test_and_train_is_a_seventh_of_it(tmp_path: Path) -> None:
    task = load(folder(tmp_path))
    check_gold(task)
    assert numbers(task.test) == set(range(9))
    assert numbers(task.val) | numbers(task.train) == set(range(9, 30))
    assert len(task.train) == 3
    assert task.train == load(tmp_path).train != load(tmp_path, seed=1).train


def test_with_a_size_of_val_the_rest_is_train(tmp_path: Path) -> None:
    task = load(folder(tmp_path), val_size=5, test_size=4)
    assert [len(split) for split in (task.train, task.val, task.test)] == [16, 5, 4]


def test_one_file_is_divided(tmp_path: Path) -> None:
    task = load(write(tmp_path / "dev.jsonl", rows(20)), val_size=6)
    check_gold(task)
    assert [len(split) for split in (task.train, task.val, task.test)] == [10, 6, 4]


def test_the_hub_is_asked_for_the_papers_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any, str | None]] = []

    def refuse(source: hub.HubSource, revision: str | None) -> Splits:
        asked.append((source.name, source.splits, revision))
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "_download", refuse)
    for revision in (None, "main"):
        with pytest.raises(MissingDependencyError, match=r"task\.path"):
            load_task(TaskConfig(name="mnms", revision=revision))
    splits = {"val": "test_human_verified", "test": "test_human_verified_filtered"}
    assert asked == [("zixianma/mnms", splits, mnms.REVISION), ("zixianma/mnms", splits, "main")]


def test_an_alternative_plan_is_right_and_the_released_number_does_not_count_it(tmp_path: Path) -> None:
    task = load(write(tmp_path / "dev.jsonl", rows(20)))
    text = "```python\na = image_generation(text='a 1')\nb = image_classification(image=a['image'])\n```"
    for item in everything(task):
        found = task.domain.score([item], [text])[0]
        assert found.correct == bool(item.extra["mnms_id"] % 2)
        assert found.scores["plan_tool_accuracy"] == 0
        assert found.scores["tool_f1"] == (1 if found.correct else 0.5)


def test_reasons_name_what_is_wrong_and_not_the_gold_plan(tmp_path: Path) -> None:
    item = load(write(tmp_path / "dev.jsonl", rows(20))).val[0]
    answers = ["draw(text='x')", "[image_captioning(image='x'), image_generation(text='y')]", "count(objects='x')"]
    details = [mark.detail for mark in mnms.mark([item] * 3, answers)]
    assert details[0] == "there is no tool 'draw'"
    assert "order" in details[1]
    assert "count" in details[2]
    assert not any("captioning" in one for one in details)


def test_the_prompt_has_all_tools_three_demonstrations_and_the_request(tmp_path: Path) -> None:
    task = load(write(tmp_path / "dev.jsonl", rows(20)))
    text = task.domain.prompt(task.val[0])
    assert all(f"\n{name}(" in text for name in TOOLS)
    assert text.count("```python\ndef solve():") == 3
    assert text.endswith(f"Request: {task.val[0].question}")
    for _, plan in mnms.DEMONSTRATIONS:
        assert is_right([plan], list(plan))
        assert all(set(call.arguments) == set(TOOLS[call.name].arguments) for call in plan)


def test_who_solves_a_problem_sees_all_tools(tmp_path: Path) -> None:
    task = load(write(tmp_path / "dev.jsonl", rows(20)))
    assert len(task.domain.show_unsolved(task.val[0])["tools"]) == 33
    assert len(task.domain.show(task.val[0])["tools"]) == 2


def test_the_skill_is_the_chain_of_tools(tmp_path: Path) -> None:
    task = load(write(tmp_path / "dev.jsonl", rows(20)))
    assert {one.skill for one in everything(task)} == {"image_generation > image_captioning"}


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no request": ({"user_request": ""}, "column 'user_request'"),
    "no plan": ({"plan_str": None}, "column 'plan_str'"),
    "a plan that is no literal": ({"plan_str": "open('x').read()"}, "expected"),
    "a plan without steps": ({"plan_str": "[]"}, "expected steps"),
    "a step without a name": ({"plan_str": "[{'id': 0, 'name': '', 'args': {}}]"}, "expected steps"),
    "an invented tool": ({"plan_str": "[{'id': 0, 'name': 'fly', 'args': {}}]"}, "no tool 'fly'"),
    "alternatives that are none": ({"alt_plans_str": "{'a': 1}"}, "expected a Python list of plans"),
}


@pytest.mark.parametrize("changes, told", BROKEN.values(), ids=BROKEN)
def test_a_broken_row_is_an_error_with_its_line(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    data = rows(8)
    data[3] |= changes
    with pytest.raises(DataError) as error:
        load(write(tmp_path / "dev.jsonl", data))
    assert told in str(error.value)
    assert "row 4" in str(error.value)


def test_real_samples() -> None:
    path = SAMPLES / "mnms" / "dev.jsonl"
    if not path.exists():
        pytest.skip("the benchmark samples are not here")
    task = load(path)
    check_gold(task)
    by_id = {one.extra["mnms_id"]: one for one in everything(task)}
    for line in path.read_text(encoding="utf-8").splitlines():
        data = json.loads(line)
        found = task.domain.score([by_id[data["id"]]], [data["code_str"]])[0]
        assert found.scores == dict.fromkeys(SCORES, 1.0)
        assert read_calls(found.answer or "") == read_calls(by_id[data["id"]].answer)
