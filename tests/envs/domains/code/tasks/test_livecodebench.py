"""LiveCodeBench: windows, prompts, private tests kept on disk and read as data only."""

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from code_rows import case, coded, everything, livecodebench_rows, load, row, sample, write

from dataenvgym.envs.domains.code import private_tests
from dataenvgym.envs.domains.code.tasks import livecodebench
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.types import Instance


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
    with pytest.raises(ConfigError, match=r"task\.options\.window.*release_v1.*2024-09-01\.\.2025-04-30"):
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


def test_what_was_noticed_is_kept_and_the_tests_are_left_as_they_are(tmp_path: Path) -> None:
    rows = livecodebench_rows(40)
    rows[3]["question_content"] = rows[2]["question_content"] + "\x00"
    rows[4]["public_test_cases"] = json.dumps([case("a\u202e\x9b", "b")], ensure_ascii=False)
    found = load("livecodebench", write(tmp_path / "rows.jsonl", rows))
    assert ["more than once" in found.notes[0], "1 row held control characters" in found.notes[1]] == [True, True]
    (marked,) = (item for item in everything(found) if item.id.endswith("/00004"))
    assert marked.extra["tests"] == [{"input": "a\u202e\x9b", "output": "b"}]


def test_no_prompt_shows_half_a_character(tmp_path: Path) -> None:
    rows = livecodebench_rows(40)
    rows[2]["starter_code"] = "# \ud800\n"
    rows[2]["public_test_cases"] = json.dumps([case("a\udfff", "b")])
    found = load("livecodebench", write(tmp_path / "rows.json", rows))
    (marked,) = (item for item in everything(found) if item.id.endswith("/00002"))
    found.domain.prompt(marked).encode()
    assert json.loads(marked.model_dump_json())["extra"]["tests"][0]["input"] == "a\ufffd"
    assert found.domain.show(marked) == {"starter": "# \ufffd\n", "tests": [{"input": "a\ufffd", "output": "b"}]}
