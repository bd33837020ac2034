"""What the loaders of LiveCodeBench, HumanEval and MBPP have in common: splits, verdicts, honest errors."""

from pathlib import Path
from typing import Any

import pytest
from code_rows import ISOLATION, ROWS, everything, load, write

from dataenvgym.envs.domains.code.tasks import humaneval
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError
from dataenvgym.envs.tasks import hub
from dataenvgym.envs.types import Instance


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet", ".jsonl.gz"])
def test_a_single_file_is_divided_by_the_seed(tmp_path: Path, name: str, suffix: str) -> None:
    path = write(tmp_path / f"some{suffix}", ROWS[name](40))
    task = load(name, path)
    assert len(everything(task)) == 40 == len({i.id for i in everything(task)})
    assert task.train
    assert task.val
    assert task.domain.name == "code"
    again = load(name, path)
    assert (task.train, task.val, task.test) == (again.train, again.val, again.test)
    assert {i.id for i in task.test} != {i.id for i in load(name, path, seed=1).test}
    assert len(load(name, path, test_size=3, val_size=5).test) == 3
    assert len(load(name, path, test_size=3, val_size=5).val) == 5
    for instance in everything(task):
        assert {"starter", "entry", "tests"} <= instance.extra.keys()
        assert instance.extra["tests"] or instance.extra["script"]
        assert Instance.model_validate_json(instance.model_dump_json()) == instance


@pytest.mark.parametrize("name", ROWS)
def test_no_question_is_in_two_splits(tmp_path: Path, name: str) -> None:
    rows = ROWS[name](20)
    column = {"livecodebench": "question_content", "humaneval": "prompt", "mbpp": "text"}[name]
    rows[7] = {**rows[7], column: rows[3][column], "entry_point": "grow_3"}
    assert len(everything(load(name, write(tmp_path / "a.jsonl", rows)))) == 19


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("livecodebench", {"question_content": None}, "'question_content' holds no text.*question_id"),
        ("livecodebench", {"private_test_cases": None}, "'private_test_cases' holds no text"),
        ("livecodebench", {"public_test_cases": "[1"}, "'public_test_cases' is no JSON"),
        ("livecodebench", {"public_test_cases": "[1]"}, "test 1 has no texts 'input' and 'output'"),
        ("livecodebench", {"public_test_cases": "{}"}, "expected a list of tests"),
        ("livecodebench", {"metadata": "[]"}, "JSON object in 'metadata'"),
        ("livecodebench", {"starter_code": None}, "text in 'starter_code'"),
        ("humaneval", {"entry_point": "other"}, "a function 'other' with a docstring"),
        ("humaneval", {"prompt": "def grow_3(:"}, "not parsed as Python"),
        ("humaneval", {"prompt": "(" * 5_000}, "not parsed as Python"),
        ("humaneval", {"prompt": "x = 1\n" * 30_000}, "180,000 characters"),
        ("humaneval", {"prompt": "def grow_3():\n    pass\n"}, "a function 'grow_3' with a docstring"),
        ("mbpp", {"test_list": "assert"}, "a list of texts in column 'test_list'"),
        ("mbpp", {"test_list": []}, "no test in column"),
        ("mbpp", {"test_list": ["assert other(1)"]}, "calls no function of .* helper, add_604: assert other"),
        ("mbpp", {"test_list": ["assert add_604(1"]}, "not parsed as Python"),
        ("mbpp", {"code": ""}, "'code' holds no text"),
    ],
)
def test_a_wrong_row_is_named_with_what_was_expected(
    tmp_path: Path, name: str, change: dict[str, Any], says: str
) -> None:
    rows = ROWS[name](8)
    rows[3] = {**rows[3], **change}
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match=says) as caught:
        load(name, path)
    assert f"{path}, row 4" in str(caught.value)


@pytest.mark.parametrize("name", ROWS)
def test_an_unreachable_hub_says_which_setting_to_use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "_reach", refuse)
    monkeypatch.setattr(humaneval, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"no route to host.*task\.path.*HF_HUB_OFFLINE=1") as caught:
        load(name, None)
    assert ("pip install 'dataenvgym[code]'" in str(caught.value)) == (name == "humaneval")


def test_a_window_is_an_option_of_livecodebench_alone() -> None:
    said = r"'mbpp'.*\n.*task\.options\.window: unknown key\. Known here: cpu_seconds, sandbox"
    with pytest.raises(ConfigError, match=said):
        load("mbpp", None, window="v2")


GOOD = {
    "": "print(2 * int(input()))",
    "Solution.double": "class Solution:\n    def double(self, n: int) -> int:\n        return 2 * n",
}
# Each passes the tests that the question shows.
BAD = {
    "": "print(2 * abs(int(input())))",
    "Solution.double": "class Solution:\n    def double(self, n):\n        return 2 * abs(n)",
}


@pytest.mark.parametrize("name", ROWS)
def test_right_programs_pass_all_tests_and_wrong_ones_do_not(tmp_path: Path, name: str) -> None:
    task = load(name, write(tmp_path / "a.jsonl", ROWS[name](20)), sandbox=ISOLATION)
    items = [*task.val, *task.test]
    good = [GOOD.get(item.extra["entry"], item.answer) for item in items]
    bad = [BAD.get(item.extra["entry"], f"def {item.extra['entry']}(*args):\n    return 0") for item in items]
    fenced = [f"So:\n```python\n{code}\n```\nDone." for code in (*good, *bad)]
    scored = task.domain.score([*items, *items], fenced)
    assert [s.correct for s in scored] == [True] * len(items) + [False] * len(items), scored
    if name == "livecodebench":
        # The public test is the first, of the private ones the second fails.
        assert {s.detail.split(":")[0] for s in scored[len(items) :]} == {"test 3"}
