"""The loaders of MATH and GSM8K: same schema from file, folder and hub, clean splits, honest errors."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.scoring.answers import equal, extract_answer
from dataenvgym.envs.errors import DataError, MissingDependencyError
from dataenvgym.envs.tasks import Task, hub, load_task
from dataenvgym.envs.tasks.records import Splits
from dataenvgym.envs.types import Instance

SAMPLES = Path(os.environ.get("DATAENVGYM_SAMPLES", Path(__file__).parents[6] / "shared" / "data"))
ANSWERS = ["{}", "\\frac{{{}}}{{7}}", "{}\\text{{ cm}}", "\\left(1, {}\\right)", "x^2 + {}"]


def math_rows(count: int, word: str = "row") -> list[dict[str, Any]]:
    subjects = ("Algebra", "Geometry")
    return [
        {
            "problem": f"{word} {i}: what is it?",
            "level": f"Level {i % 2 + 1}",
            "type": subjects[i // 2 % 2],
            "solution": f"First $\\boxed{{0}}$. It is $\\boxed{{{ANSWERS[i % 5].format(i + 10)}}}$.",
        }
        for i in range(count)
    ]


def gsm8k_rows(count: int, word: str = "row") -> list[dict[str, Any]]:
    return [
        {
            "question": f"{word} {i}: how many?",
            "answer": f"{i} + 1000 = <<{i}+1000={i + 1000}>>{i + 1000} of them\n#### {i + 1000:,}",
        }
        for i in range(count)
    ]


ROWS = {"math": math_rows, "gsm8k": gsm8k_rows}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def load(name: str, path: Path, **settings: Any) -> Task:
    return load_task(TaskConfig(name=name, path=str(path), **settings))


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


def check_gold(task: Task) -> None:
    for instance in everything(task):
        completion = task.domain.example(instance).completion
        assert task.domain.read_back(instance.answer, completion)[1], instance


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_a_single_file_is_divided_by_the_seed(tmp_path: Path, name: str, suffix: str) -> None:
    path = write(tmp_path / f"some{suffix}", ROWS[name](40))
    task = load(name, path)
    assert len(task.test) == 8
    assert task.val
    assert len(everything(task)) == 40 == len({i.id for i in everything(task)})
    assert task == load(name, path)
    assert {i.id for i in task.test} != {i.id for i in load(name, path, seed=1).test}
    by_id = {i.id: i.question for i in everything(task)}
    assert by_id == {i.id: i.question for i in everything(load(name, path, seed=1))}
    assert by_id[f"{name}/all/00012"].startswith("row 12:")
    check_gold(task)


@pytest.mark.parametrize("name", ROWS)
def test_a_folder_with_train_and_test_keeps_the_official_test(tmp_path: Path, name: str) -> None:
    train, test = ROWS[name](30), ROWS[name](9, "held out")
    column = next(iter(train[3]))
    train[3] = {**train[3], column: "  " + test[4][column].replace("held", "HELD")}
    train[5] = train[6]
    write(tmp_path / "train-00000-of-00001.parquet", train)
    write(tmp_path / "test.jsonl", test)
    write(tmp_path / "other.json", [{"no": "rows of ours"}])
    task = load(name, tmp_path)
    assert [i.id for i in task.test] == [f"{name}/test/{i:05d}" for i in range(9)]
    # One train question stands in test too, one stands there twice.
    assert len(task.train) + len(task.val) == 28
    questions = [i.question.strip().casefold() for i in everything(task)]
    assert len(questions) == len(set(questions))
    smaller = load(name, tmp_path, test_size=4)
    assert len(smaller.test) == 4
    assert smaller.val == task.val


def test_sub_folders_of_single_problems(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("test", 2)):
        for i, row in enumerate(math_rows(count, split)):
            path = tmp_path / split / row["type"].lower() / f"{i}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row))
    task = load("math", tmp_path)
    assert (len(task.test), len(task.train) + len(task.val)) == (2, 8)


def test_math_instances_and_stratified_val(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", math_rows(80))
    write(tmp_path / "test.jsonl", math_rows(4, "test"))
    task = load("math", tmp_path, val_size=3)
    strata = [(i.skill, i.extra["level"]) for i in task.val]
    assert len(strata) == 12
    assert {strata.count(s) for s in strata} == {3}
    assert len(load("math", tmp_path).val) == 40
    first = task.test[0]
    assert (first.answer, first.skill, first.extra) == ("10", "Algebra", {"level": "Level 1"})
    assert first.solution.startswith("First $")
    assert task.domain.prompt(first).endswith(first.question)


def test_gsm8k_instances(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", gsm8k_rows(700))
    write(tmp_path / "test.jsonl", gsm8k_rows(3, "test"))
    task = load("gsm8k", tmp_path)
    assert len(task.val) == 300
    assert len(load("gsm8k", tmp_path, val_size=20).val) == 20
    assert task.test[1].solution == "1 + 1000 = 1001 of them"
    assert (task.test[1].answer, task.test[1].skill) == ("1,001", None)


def test_unicode_line_separators_do_not_cut_a_row(tmp_path: Path) -> None:
    rows = gsm8k_rows(10)
    rows[0]["question"] = "one\u2028two\u0085three"
    task = load("gsm8k", write(tmp_path / "a.jsonl", rows))
    assert len(everything(task)) == 10


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        (
            "math",
            {"problem": "p", "solution": "\\boxed{1}", "type": "t"},
            "no column 'level'.*problem, level",
        ),
        (
            "math",
            {"question": "q", "answer": "#### 1"},
            "no column 'problem'.*found .* question, answer",
        ),
        ("math", {"problem": "p", "level": "1", "type": "t", "solution": "one"}, "no .*boxed.*'solution'"),
        (
            "math",
            {"problem": "p", "level": 1, "type": "t", "solution": "\\boxed{1}"},
            "'level' holds no",
        ),
        ("gsm8k", {"question": "q"}, "no column 'answer'"),
        ("gsm8k", {"question": "q", "answer": "five"}, "####"),
    ],
)
def test_a_wrong_schema_names_the_file_the_row_and_the_column(
    tmp_path: Path, name: str, row: dict[str, Any], says: str
) -> None:
    path = write(tmp_path / "rows.jsonl", [*ROWS[name](7), row])
    with pytest.raises(DataError, match=says) as caught:
        load(name, path)
    assert f"{path}, row 8" in str(caught.value)


def test_unreadable_sources(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        load("math", tmp_path / "absent")
    with pytest.raises(DataError, match=r"no \.jsonl"):
        load("math", tmp_path)
    for name, content in (
        ("a.jsonl", "{}\n{oops"),
        ("a.json", "[1"),
        ("a.parquet", "no parquet"),
        ("b.json", "[1]"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            load("math", tmp_path / name)
    (tmp_path / "c.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        load("math", tmp_path / "c.jsonl")
    with pytest.raises(DataError, match="too few rows"):
        load("gsm8k", write(tmp_path / "few.jsonl", gsm8k_rows(2)))


def test_an_unreachable_hub_says_which_setting_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: hub.HubSource, revision: str | None) -> Splits:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub, "_download", refuse)
    for name in ROWS:
        with pytest.raises(MissingDependencyError, match=r"no route to host.*task\.path.*HF_HUB_OFFLINE=1"):
            load_task(TaskConfig(name=name))


def test_the_hub_falls_back_to_the_second_source_and_joins_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import HfApi

    asked: list[tuple[str, str]] = []

    def load_dataset(name: str, config: str) -> dict[str, list[dict[str, Any]]]:
        asked.append((name, config))
        if name.startswith("DigitalLearning"):
            raise DatasetNotFoundError("gone")
        return {"train": math_rows(8, f"{config} train"), "test": math_rows(2, f"{config} test")}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: None)
    task = load_task(TaskConfig(name="math"))
    assert len(task.test) == 14
    assert len(everything(task)) == 70
    assert len(asked) == 8
    assert asked[1] == ("EleutherAI/hendrycks_math", "algebra")


@pytest.mark.parametrize("name", ROWS)
def test_real_samples(name: str) -> None:
    path = SAMPLES / name / "dev.jsonl"
    if not path.exists():
        pytest.skip("the benchmark samples are not here")
    task = load(name, path)
    check_gold(task)
    column = {"math": "solution", "gsm8k": "answer"}[name]
    raw = [json.loads(line)[column] for line in path.read_text(encoding="utf-8").splitlines()]
    for instance in everything(task):
        found = extract_answer(raw[int(instance.id.rsplit("/", 1)[1])])
        assert found is not None, instance
        assert equal(instance.answer, found), (instance, found)
