"""Own data as a task: which columns, which scorer, which splits, and what is said of them."""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text import inspection, own_data
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.tasks import load_task
from dataenvgym.envs.tasks.fingerprint import fingerprint
from dataenvgym.envs.types import Instance

Load = Callable[..., own_data.OwnData]
Row = dict[str, Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(rows: Iterable[Row], *, seed: int = 0, sizes: dict[str, int] | None = None, **options: Any) -> Any:
        path = tmp_path / "mine.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return own_data.load(
            TaskConfig(name="custom", path=str(path), seed=seed, options=options, **(sizes or {}))  # type: ignore[arg-type]
        )

    return loaded


def numbers(count: int = 20) -> list[Row]:
    return [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(count)]


def first(data: own_data.OwnData) -> Instance:
    return next(iter(data.read.values()))[0]


# --- columns ---


@pytest.mark.parametrize(
    ("row", "question", "answer", "skill"),
    [
        ({"Text": "q", "LABEL": "a", "topic": "t"}, "q", "a", "t"),
        ({"prompt": "q", "completion": "a"}, "q", "a", None),
        ({"input": "q", "output": "a", "subject": "t"}, "q", "a", "t"),
        ({"sentence": "q", "sentiment": "a", "note": 1}, "q", "a", None),
    ],
)
def test_columns_with_usual_names_are_found_and_told(
    row: Row, question: str, answer: str, skill: str | None, load: Load
) -> None:
    data = load([{key: f"{value} {n}" for key, value in row.items()} for n in range(12)])
    found = first(data)
    assert (found.question, found.answer) == (f"{question} 0", f"{answer} 0")
    assert found.skill == (skill and f"{skill} 0")
    assert "columns by their usual names: question from" in data.task.notes[0]


def test_columns_that_are_named_are_not_guessed(load: Load) -> None:
    rows = [{"question": f"no {n}", "text": f"q {n}", "label": f"a {n}", "skill": "s"} for n in range(12)]
    data = load(rows, question="text", answer="label", skill="", scorer="exact")
    assert first(data).question == "q 0" and first(data).skill is None
    assert data.task.notes == ()


def test_a_column_is_a_path_or_a_template(load: Load) -> None:
    rows = [
        {"data": {"q": f"q {n}", "answers": [{"text": f"a {n}"}]}, "title": "T", "a.b": "dotted {{ 7 * 7 }}"}
        for n in range(12)
    ]
    data = load(rows, question="{{ title }}: {{ data.q | upper }}", answer="data.answers.0.text", skill="a.b")
    assert first(data).question == "T: Q 0" and first(data).answer == "a 0"
    assert first(data).skill == "dotted {{ 7 * 7 }}"  # what data hold is no template


def test_a_template_reaches_nothing_but_the_columns(load: Load) -> None:
    for attack in ("{{ ''.__class__.__mro__ }}", "{{ question.__init__.__globals__ }}", "{{ config }}"):
        with pytest.raises(DataError, match=r"row 1: task\.options\.question"):
            load(numbers(), question=attack)


def test_ids_of_the_data_are_kept_and_others_are_numbers(load: Load) -> None:
    assert first(load(numbers())).id == "custom/all/00000"
    data = load([{**row, "id": f"n-{at}"} for at, row in enumerate(numbers())])
    assert first(data).id == "n-0" and data.places["n-3"].endswith("mine.jsonl, row 4")


# --- answers and their scorer ---

CHOSEN = {"question": "Which?", "choices": ["ant", "whale", "bee"], "answer": "whale"}


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"answer": "B"}, "B"),
        ({"answer": "b)"}, "B"),
        ({"answer": 1}, "B"),
        ({"answer": "1"}, "B"),
        ({"choices": {"text": ["ant", "whale"], "label": ["1", "2"]}, "answer": "2"}, "B"),
        ({"choices": {"X": "ant", "Y": "whale"}, "answer": "Y"}, "B"),
        ({"choices": "ant|whale|bee"}, "B"),
        ({"choices": '["ant", "whale"]'}, "B"),
        ({"choices": [1, 2, 3], "answer": "3"}, "C"),
    ],
)
def test_choices_have_many_forms_and_the_answer_is_a_letter(row: Row, answer: str, load: Load) -> None:
    data = load([{**CHOSEN, "question": f"Which? {n}", **row} for n in range(12)])
    assert data.judge.name == "choice" and first(data).answer == answer
    assert first(data).question.startswith("Which? 0\nA) ")


def test_choices_may_be_columns(load: Load) -> None:
    rows = [{"question": f"{n}?", "a": "ant", "b": "whale", "c": None, "answer": "whale"} for n in range(12)]
    data = load(rows, choices=["a", "b", "c"])
    assert first(data).question == "0?\nA) ant\nB) whale" and first(data).answer == "B"


@pytest.mark.parametrize(
    ("answers", "options", "scorer"),
    [
        ([1, 2.5, -3], {}, "number"),
        (["1,000", "2", "3 kg"], {}, "number"),
        (["good", "bad", "good"], {}, "label"),
        ([{"a": 1}, {"a": 2}], {}, "json"),
        (['{"a": 1}', '{"a": 2}'], {}, "json"),
        (["some words {n}", "and others {n}"], {}, "text"),
        (["good", "bad"], {"labels": ["good", "bad", "fair"]}, "label"),
        (["a {n}"], {"threshold": 0.7}, "f1"),
        (["a {n}"], {"pattern": "[0-9]+"}, "regex"),
        ([3], {"tolerance": "1%"}, "number"),
        ([3], {"scorer": "math"}, "math"),
        ([3], {"scorer": "exact"}, "exact"),
    ],
)
def test_the_scorer_is_what_the_answers_look_like(
    answers: list[Any], options: Row, scorer: str, load: Load
) -> None:
    def answer(n: int) -> Any:
        found = answers[n % len(answers)]
        return found.replace("{n}", str(n)) if isinstance(found, str) and "{n}" in found else found

    data = load([{"question": f"{n}?", "answer": answer(n)} for n in range(12)], **options)
    assert data.judge.name == scorer
    assert any(f"the scorer is {scorer}" in note for note in data.task.notes) == ("scorer" not in options)
    domain, val = data.task.domain, data.task.val
    assert all(one.correct for one in domain.score(val, [domain.example(item).completion for item in val]))


def test_settings_reach_the_scorer(load: Load) -> None:
    domain = load(numbers(), tolerance=2).task.domain
    assert domain.read_back("10", "Answer: 12") == ("12", True)
    assert domain.read_back("10", "Answer: 12.5") == ("12.5", False)
    rows = [{"question": f"{n}?", "answer": {"name": "Ann", "age": n}} for n in range(12)]
    data = load(rows)
    assert "with the fields name, age" in data.task.domain.instruction
    assert load(rows, fields=["name"]).task.domain.read_back('{"name": "Ann"}', '{"name": "ANN"}')[1]


def test_an_own_instruction_is_asked_with_its_own_mark(load: Load) -> None:
    data = load(numbers(), instruction="Add. Say 'Answer: X'.")
    assert data.task.domain.prompt(first(data)) == "Add. Say 'Answer: X'.\nWhat is 0 + 1?"
    assert data.task.domain.example(first(data)).completion == "Answer: 1"
    assert load(numbers(), instruction="Add.").task.domain.example(first(data)).completion == "1"
    marked = load(numbers(), instruction="Add. End with #### X.", mark="####").task.domain
    assert marked.example(first(data)).completion == "#### 1" and marked.extract("so\n#### 1") == "1"


def test_another_scorer_of_the_config_judges_too(load: Load, tmp_path: Path) -> None:
    load(numbers())
    config = TaskConfig(name="custom", path=str(tmp_path / "mine.jsonl"), scorer="exact")
    assert load_task(config).domain.read_back("12", "Answer: 12.0") == ("12.0", False)


# --- splits ---


def split_sizes(data: own_data.OwnData) -> tuple[int, int, int]:
    return len(data.task.train), len(data.task.val), len(data.task.test)


@pytest.mark.parametrize(("count", "sizes"), [(10, (4, 3, 3)), (100, (40, 30, 30)), (3000, (2200, 300, 500))])
def test_three_in_ten_are_val_and_as_many_test_up_to_a_size(
    count: int, sizes: tuple[int, int, int], load: Load
) -> None:
    data = load(numbers(count))
    assert split_sizes(data) == sizes
    ids = [item.id for split in (data.task.train, data.task.val, data.task.test) for item in split]
    assert len(set(ids)) == count


def test_the_seed_draws_the_splits_and_no_question_is_in_two(load: Load) -> None:
    rows = numbers(30) + numbers(30)
    one, again, other = load(rows), load(rows), load(rows, seed=1)
    assert fingerprint(one.task) == fingerprint(again.task) != fingerprint(other.task)
    questions = [item.question for split in (one.task.train, one.task.val, one.task.test) for item in split]
    assert len(questions) == len(set(questions)) == 30
    assert split_sizes(load(numbers(30), sizes={"val_size": 4, "test_size": 5})) == (21, 4, 5)


def test_a_split_too_small_for_an_interval_of_a_fifth_is_told(load: Load) -> None:
    assert len([n for n in load(numbers(100)).task.all_notes() if "narrower than 0.2 from 93" in n]) == 2
    assert not [n for n in load(numbers(400)).task.all_notes() if "narrower" in n]


def test_a_column_says_the_splits(load: Load) -> None:
    names = ["train", "validation", "Test", "dev"]
    rows = [{**row, "split": names[n % 4]} for n, row in enumerate(numbers())]
    assert split_sizes(load(rows)) == (5, 10, 5)
    assert split_sizes(load(rows, split="")) == (8, 6, 6)
    assert split_sizes(load(rows, sizes={"val_size": 3})) == (5, 3, 5)
    with pytest.raises(ConfigError, match=r"task\.test_size: 6 is too many: the data have 5 questions in test"):
        load(rows, sizes={"test_size": 6})


@pytest.mark.parametrize(
    ("files", "sizes", "note"),
    [
        (("train", "test"), (7, 3, 10), ""),
        (("train", "val", "test"), (10, 10, 10), ""),
        (("train", "validation"), (7, 10, 3), "no test split: 3 of the 10 rows of train"),
        (("dev", "test"), (3, 7, 10), "no train split: 3 of the 10 rows of val"),
        (("one", "two"), (8, 6, 6), ""),
        (("test",), (4, 3, 3), ""),
    ],
)
def test_files_of_a_folder_are_splits_by_their_names(
    files: tuple[str, ...], sizes: tuple[int, int, int], note: str, tmp_path: Path
) -> None:
    rows = numbers(10 * len(files))
    for at, name in enumerate(files):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["question", "answer"])
            table.writeheader()
            table.writerows(rows[10 * at : 10 * at + 10])
    data = own_data.load(TaskConfig(name="custom", path=str(tmp_path)))
    assert split_sizes(data) == sizes
    assert any(note in one for one in data.task.notes)


def test_a_data_set_of_the_hub_is_read_by_its_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import HfApi, constants

    asked = []

    def load_dataset(*names: str, **more: Any) -> Any:
        asked.append((names, more))
        rows = [{"text": f"Film {n}", "label": n % 2} for n in range(20)]
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
        )
        parts = {"train": rows[:10], "test": rows[10:]}
        return {split: datasets.Dataset.from_list(part, features=features) for split, part in parts.items()}

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha="a" * 40))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("dataenvgym.envs.tasks._ready", {})
    task = load_task(TaskConfig(name="custom", path="hub:org/films:plain"))
    assert asked == [(("org/films", "plain"), {"revision": "a" * 40})]
    assert (len(task.train), len(task.val), len(task.test)) == (7, 3, 10)
    assert {item.answer for item in task.test} == {"bad", "good"}
    assert task.hub is not None and (task.hub.name, task.hub.revision) == ("org/films", "a" * 40)


# --- what a look at it shows ---


def suspicions(data: own_data.OwnData, **lengths: int) -> str:
    found = inspection.suspicions(data, data.task.domain, **{"row_tokens": 1024, "answer_tokens": 128, **lengths})
    return "\n".join(found)


def test_good_data_are_not_suspicious(load: Load) -> None:
    data = load(numbers(100))
    assert suspicions(data) == ""
    right = inspection.try_right_answers(data, data.task.domain)
    wrong = inspection.try_wrong_answers(data, data.task.domain)
    assert (right.right, right.total, right.faults) == (100, 100, [])
    assert wrong.right == 0 and wrong.total >= 200


def test_what_is_suspicious_is_named_with_its_places(load: Load) -> None:
    rows = [{"question": f"Film {n}", "answer": "good" if n else "bad"} for n in range(30)]
    rows += [{"question": "film  3", "answer": "good"}, {"question": "Film 4", "answer": "bad"}]
    said = suspicions(load(rows, labels=["good", "bad", "fair"]), row_tokens=3)
    assert "2 questions stand there more than once: " in said and "row 4 and " in said and "row 31" in said
    assert "1 question have two different answers" not in said
    assert "1 question has two different answers: " in said and "row 33" not in said
    assert "no instance of train and val and test has the label 'fair'" in said
    assert "who always says 'good' is right in" in said
    assert "32 rows may be longer than the 3 tokens" in said


def test_an_answer_that_stands_in_its_question_is_suspicious(load: Load) -> None:
    rows = [{"question": f"Say word {n}, or {n}x.", "answer": f"Word {n}"} for n in range(12)]
    assert "12 answers can be read in the question: " in suspicions(load(rows))


def test_a_question_in_two_splits_is_suspicious(load: Load) -> None:
    rows = [{**row, "split": "test" if n % 2 else "train"} for n, row in enumerate(numbers())]
    said = suspicions(load([*rows, {**rows[0], "split": "test"}]))
    assert "1 question stands in two splits: " in said and "row 21" in said


def test_a_scorer_that_accepts_wrong_answers_is_seen(load: Load) -> None:
    rows = [{"question": f"q {n}", "answer": f"the word {n}"} for n in range(12)]
    data = load(rows, scorer="f1", threshold=0.3)
    wrong = inspection.try_wrong_answers(data, data.task.domain)
    assert wrong.right and "counts as right where 'the word 0' is" in wrong.faults[0]
