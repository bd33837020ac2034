"""MBPP: official splits, prompts, tests shown as assertions."""

from pathlib import Path

import pytest
from code_rows import Rows, load, mbpp_rows, row, write

from dataenvgym.envs.domains.code.tasks import mbpp


def test_the_task_id_gives_the_official_splits(tmp_path: Path) -> None:
    ids = [*range(1, 12), *range(505, 520), *range(598, 606), 974]
    task = load("mbpp", write(tmp_path / "mbpp.jsonl", mbpp_rows(ids)))
    assert [i.extra["task_id"] for i in task.test] == [11, *range(505, 511)]
    assert [i.extra["task_id"] for i in task.val] == [*range(511, 520), 598, 599, 600]
    assert [i.extra["task_id"] for i in task.train] == [*range(1, 11), *range(601, 606), 974]
    assert task.test[0].id == "mbpp/test/00011"
    assert len(load("mbpp", tmp_path / "mbpp.jsonl", val_size=4).val) == 4


def test_a_folder_of_mbpp_as_the_hub_has_it(tmp_path: Path) -> None:
    parts = {"train": [601, 602], "test": [11, 12], "validation": [511, 512], "prompt": [2]}
    for name, ids in parts.items():
        write(tmp_path / f"{name}-00000-of-00001.parquet", mbpp_rows(ids, "prompt"))
    task = load("mbpp", tmp_path)
    found = [[i.extra["task_id"] for i in split] for split in (task.train, task.val, task.test)]
    assert found == [[601, 602, 2], [511, 512], [11, 12]] or found == [[2, 601, 602], [511, 512], [11, 12]]
    assert task.test[0].question == "Write a function to add 11 to a number."


def test_a_clone_with_the_full_and_the_sanitized_files_counts_each_task_once(tmp_path: Path) -> None:
    for folder in ("full", "sanitized"):
        for name, ids in {"train": [601], "test": [11, 12], "validation": [511], "prompt": [2]}.items():
            write(tmp_path / folder / f"{name}-00000-of-00001.parquet", mbpp_rows(ids))
    assert [i.extra["task_id"] for i in load("mbpp", tmp_path).test] == [11, 12]


def test_a_folder_without_task_ids_keeps_its_own_splits(tmp_path: Path) -> None:
    def without(ids: list[int]) -> Rows:
        return [{k: v for k, v in data.items() if k != "task_id"} for data in mbpp_rows(ids)]

    write(tmp_path / "train.jsonl", without(list(range(10))))
    write(tmp_path / "test.jsonl", without([30, 31]))
    assert len(load("mbpp", tmp_path).test) == 2
    write(tmp_path / "validation.jsonl", without([40, 41, 42]))
    task = load("mbpp", tmp_path)
    assert (len(task.train), len(task.val), len(task.test)) == (10, 3, 2)


def test_mbpp_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import HfApi

    parts = {"train": (601, 975), "test": (11, 511), "validation": (511, 601), "prompt": (1, 11)}

    def load_dataset(name: str, config: str) -> dict[str, Rows]:
        assert (name, config) == ("google-research-datasets/mbpp", "full")
        return {split: mbpp_rows(list(range(*ids))) for split, ids in parts.items()}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)
    task = load("mbpp", None)
    assert (len(task.train), len(task.val), len(task.test)) == (384, 90, 500)


def test_an_instance_of_mbpp(tmp_path: Path) -> None:
    rows = mbpp_rows([11, 511, 601])
    rows[0]["test_list"] = ["assert set([add_11(helper(1))]) == {12}", "assert math.isclose(add_11(1), 12)\r\n"]
    rows[0] |= {"test_setup_code": "nothing = sys.maxsize\r\n", "test_imports": ["import math"]}
    instance = load("mbpp", write(tmp_path / "a.jsonl", rows)).test[0]
    assert (instance.extra["entry"], instance.extra["starter"]) == ("add_11", "def add_11(x, y=0):")
    assert "\r" not in instance.answer
    assert instance.extra["script"] == (
        "import sys\nimport math\nnothing = sys.maxsize\n"
        "assert set([add_11(helper(1))]) == {12}\nassert math.isclose(add_11(1), 12)\n"
    )


def test_the_prompt_of_mbpp_is_the_usual_one_and_rows_have_the_same_form(tmp_path: Path) -> None:
    task = load("mbpp", write(tmp_path / "a.jsonl", mbpp_rows([11, 511, 601])))
    prompt = task.domain.prompt(task.test[0])
    assert prompt == (
        "You are an expert Python programmer, and here is your task: Write a function to add 11 to a number. "
        "Your code should pass these tests:\n\nassert add_11(1) == 12\nassert add_11(2) == 13\n"
        "assert add_11(3) == 14\n"
    )
    tests = [{"input": str(x), "output": str(x + 11)} for x in range(1, 8)]
    made = row("Write a function to add 11 to a number.", "def add_11(x):", tests)
    assert task.domain.prompt(made) == prompt


@pytest.mark.parametrize(
    ("starter", "given", "expected", "shown"),
    [
        ("def f(a, b):", '[1, null, true]\n"a\'b"', "false", 'assert f([1, None, True], "a\'b") == False'),
        ("import math\ndef g(x):\n  pass\ndef f(x: int) -> int:", "1", '{"a": 1}', "assert f(1) == {'a': 1}"),
        ("class Solution:\n    def f(self, x):", "1", "2", "assert Solution().f(1) == 2"),
        ("def f(a, b):", "5\n\n7\n", "12", "assert f(5, 7) == 12"),
        ("def f(a):", "no json", "2", "assert f(no json) == 2"),
        ("", "1 2\n", "3", "# input '1 2\\n' prints '3'"),
    ],
)
def test_tests_of_a_row_are_shown_as_assertions(starter: str, given: str, expected: str, shown: str) -> None:
    assert mbpp.assertions(row("q", starter, [{"input": given, "output": expected}])) == [shown]
