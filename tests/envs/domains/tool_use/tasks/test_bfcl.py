"""The loader of BFCL: the package's layout or one file, all that is chosen, clean splits, honest errors."""

import json
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.tool_use.tasks import bfcl
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError
from dataenvgym.envs.tasks import Task, load_task
from dataenvgym.envs.tool_text import split_tools
from dataenvgym.envs.types import Instance, Provenance, Row

SAMPLES = Path(os.environ.get("DATAENVGYM_SAMPLES", Path(__file__).parents[6] / "shared" / "data"))
CATEGORIES = ("simple", "parallel", "irrelevance", "live_relevance")
TOOL = {
    "name": "geo.area",
    "description": "Area.",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "float"},
            "unit": {"type": "any"},
            "sides": {"type": "tuple", "items": {"type": "float"}},
        },
        "required": ["base"],
    },
}


def row(kind: str, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"{kind}_{number}",
        "question": [[{"role": "user", "content": f"{kind} {number}?"}]],
        "function": [TOOL],
        **changes,
    }


def key(category: str, number: int) -> list[dict[str, Any]]:
    return [
        {"geo.area": {"base": [number + n], "unit": ["", "cm"]}} for n in range(2 if category == "parallel" else 1)
    ]


def package(folder: Path, count: int = 8) -> Path:
    """Data files as the package has them: questions, and the keys in a folder beside them."""
    (folder / "possible_answer").mkdir(parents=True)
    for category in ("simple_python", "parallel", "irrelevance", "live_relevance", "simple_java"):
        rows = [row(category, n) for n in range(count)]
        write(folder / f"BFCL_v4_{category}.json", rows)
        if category not in ("irrelevance", "live_relevance"):
            keys = [{"id": one["id"], "ground_truth": key(category, n)} for n, one in enumerate(rows)]
            write(folder / "possible_answer" / f"BFCL_v4_{category}.json", keys)
    (folder / "multi_turn_func_doc").mkdir()
    write(folder / "multi_turn_func_doc" / "files.json", [{"name": "no question"}])
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


def load(path: Path | None, categories: tuple[str, ...] = CATEGORIES, **more: Any) -> Task:
    return load_task(
        TaskConfig(
            name="bfcl", path=None if path is None else str(path), options={"categories": categories}, **more
        )
    )


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


def check(task: Task) -> None:
    """No question is in two splits, and what a gold answer renders to is right."""
    questions = [
        {" ".join(one.question.split()).casefold() for one in split} for split in (task.train, task.val, task.test)
    ]
    assert not (questions[0] & questions[1] or questions[0] & questions[2] or questions[1] & questions[2])
    items = [one for one in everything(task) if one.answer != bfcl.ANY_CALL]
    texts = [task.domain.example(one).completion for one in items]
    wrong = [
        one.id for one, found in zip(items, task.domain.score(items, texts), strict=True) if not found.correct
    ]
    unmeetable = next((note for note in task.notes if "no answer meets" in note), "")
    assert all(one in unmeetable for one in wrong)


def test_the_packages_layout(tmp_path: Path) -> None:
    task = load(package(tmp_path / "data"))
    check(task)
    assert Counter(one.skill for one in everything(task)) == dict.fromkeys(CATEGORIES, 8)
    assert task.test
    assert task.notes == ()
    assert {one.skill: one.answer for one in everything(task)} | {"simple": "", "parallel": ""} == {
        "simple": "",
        "parallel": "",
        "irrelevance": "[]",
        "live_relevance": bfcl.ANY_CALL,
    }


def test_the_seed_draws_the_splits(tmp_path: Path) -> None:
    path = package(tmp_path / "data")
    first, again, other = (load(path, seed=seed) for seed in (0, 0, 1))
    assert first.test == again.test
    assert {one.id for one in first.test} != {one.id for one in other.test}
    assert len(load(path, test_size=3, val_size=2).test) == 3
    assert len(load(path, test_size=3, val_size=2).val) == 2


def test_the_default_is_all_that_has_a_key(tmp_path: Path) -> None:
    assert set(bfcl.BfclOptions().categories) == set(bfcl.CATEGORIES) - {"live_relevance"}
    with pytest.raises(ConfigError, match="live_simple"):
        load(package(tmp_path / "data"), ("simple_java",))


def test_one_file_with_keys_in_it(tmp_path: Path) -> None:
    rows = [row("simple_python", n, ground_truth=key("simple", n), category="simple_python") for n in range(6)]
    rows += [row("simple_python", 9), row("multi_turn_base", 1, question="not read")]
    task = load(write(tmp_path / "dev.jsonl", rows), ("simple",))
    check(task)
    assert len(everything(task)) == 6
    assert any("1 instance of other categories left out: 1 multi_turn_base" in note for note in task.notes)
    assert any("1 instance without an answer key left out: 1 simple" in note for note in task.notes)


def test_instances_with_one_question_are_kept_and_stay_together(tmp_path: Path) -> None:
    def asked(number: int) -> list[Any]:
        return [[{"role": "user", "content": f"What  Is {number // 3}?"}]]

    rows = [row("simple", n, question=asked(n), ground_truth=key("simple", n)) for n in range(30)]
    task = load(write(tmp_path / "dev.jsonl", rows), ("simple",))
    check(task)
    assert len(everything(task)) == 30


def test_the_installed_package_is_found_and_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bfcl_eval"
    package(folder / "data")
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert len(everything(load(None))) == 32


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfcl, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install --no-deps bfcl-eval.*task\.path"):
        load(None)


def test_the_student_sees_tools_as_json_schemas_and_the_request(tmp_path: Path) -> None:
    task = load(package(tmp_path / "data"))
    tools, text = split_tools(task.domain.prompt(task.test[0]))
    assert text == task.test[0].question
    assert tools is not None
    assert tools[0]["parameters"] == {
        "type": "object",
        "properties": {
            "base": {"type": "number"},
            "unit": {"type": "string"},
            "sides": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["base"],
    }


def test_messages_become_one_text(tmp_path: Path) -> None:
    talks = [
        [("system", "Be brief."), ("user", "Area?")],
        [("user", "Hello"), ("assistant", "Hi"), ("user", "Area of 2?")],
    ]
    questions = [[[{"role": role, "content": text} for role, text in talk]] for talk in talks] + ["Area of 3?"]
    rows = [row("irrelevance", n, question=questions[n % 3], function=[]) for n in range(3)]
    rows += [row("irrelevance", n) for n in range(3, 9)]
    texts = {one.question for one in everything(load(write(tmp_path / "dev.jsonl", rows), ("irrelevance",)))}
    assert {"Be brief.\n\nArea?", "User: Hello\nAssistant: Hi\nUser: Area of 2?", "Area of 3?"} <= texts


def test_words_are_no_call_and_that_is_right_for_irrelevance(tmp_path: Path) -> None:
    task = load(package(tmp_path / "data"))
    items = {one.skill: one for one in everything(task)}
    said = {skill: task.domain.score([one], ["None of them can."])[0] for skill, one in items.items()}
    assert [skill for skill, found in said.items() if found.correct] == ["irrelevance"]
    called = {skill: task.domain.score([one], ["geo.area(base=99)"])[0] for skill, one in items.items()}
    assert [skill for skill, found in called.items() if found.correct] == ["live_relevance"]


def test_a_row_is_judged_by_the_same_rules_with_its_own_values(tmp_path: Path) -> None:
    domain = load(package(tmp_path / "data")).domain
    by = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="h")
    answer = '[{"name": "geo.area", "arguments": {"base": 2.0, "unit": "Sq. cm"}}]'
    made = Row(
        id="1", question="q", solution="", answer=answer, skill="simple", extra={"tools": [TOOL]}, provenance=by
    )
    texts = [answer, "geo.area(base=2, unit='sq cm')", "geo.area(base=3, unit='sq cm')", "geo.area(base=2)", "No."]
    assert [found.correct for found in domain.score([made] * 5, texts)] == [True, True, False, False, False]
    nothing = made.model_copy(update={"answer": "[]"})
    assert [found.correct for found in domain.score([nothing] * 2, ["No.", "geo.area(base=2)"])] == [True, False]


DEEP: Any = {}
for _ in range(150):
    DEEP = {"type": "dict", "properties": {"a": DEEP}}
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": None}, "column 'id'"),
    "no question": ({"question": None}, "one turn of messages in column 'question'"),
    "two turns": ({"question": [[{"role": "user", "content": "a"}], []]}, "one turn"),
    "a message without a role": ({"question": [[{"content": "a"}]]}, "one turn"),
    "no tools": ({"function": None}, "a list of tools in column 'function'"),
    "a tool that is none": ({"function": ["geo.area"]}, "column 'function': a tool must be an object"),
    "a tool without a name": ({"function": [{**TOOL, "name": ""}]}, "column 'function': a tool has no name"),
    "two of one name": ({"function": [TOOL, TOOL]}, "two tools have the name 'geo.area'"),
    "a schema that is none": ({"function": [{**TOOL, "parameters": "x: int"}]}, "column 'function'"),
    "a type that is none": ({"function": [{**TOOL, "parameters": {"type": "shape"}}]}, "'shape'"),
    "a schema nested too deep": ({"function": [{**TOOL, "parameters": DEEP}]}, "nested"),
    "a key that is none": ({"ground_truth": ["geo.area(base=1)"]}, "expected a key"),
    "a key without lists": ({"ground_truth": [{"geo.area": {"base": 1}}]}, "expected a key"),
    "an id twice": ({"id": "simple_1"}, "also that of"),
}


@pytest.mark.parametrize("changes, told", BROKEN.values(), ids=BROKEN)
def test_a_broken_row_is_an_error_with_its_line(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    rows = [row("simple", n, ground_truth=key("simple", n)) for n in range(8)]
    rows[3] |= changes
    with pytest.raises(DataError) as error:
        load(write(tmp_path / "dev.jsonl", rows), ("simple",))
    assert told in str(error.value)
    assert "row 4" in str(error.value)


def test_a_category_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no instances of the category 'live_parallel'. The data have .*simple"):
        load(package(tmp_path / "data"), ("simple", "live_parallel"))


def test_a_key_that_no_answer_meets_is_told(tmp_path: Path) -> None:
    rows = [row("simple", n, ground_truth=key("simple", n)) for n in range(8)]
    rows[2]["ground_truth"] = [{"geo.area": {"base": [1], "colour": ["red"]}}]
    assert (
        "1 instance of which no answer meets the key"
        in load(write(tmp_path / "a.jsonl", rows), ("simple",)).notes[0]
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("bfcl_eval") is None, reason=f"needs the package: {bfcl.INSTALL}")
def test_the_whole_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chosen category has as many instances as its file has lines."""
    task = load(None, bfcl.CATEGORIES)
    check(task)
    found = Counter(one.skill for one in everything(task))
    for category in bfcl.CATEGORIES:
        name = "simple_python" if category == "simple" else category
        [file] = bfcl._installed("bfcl").glob(f"BFCL_v?_{name}.json")
        assert found[category] == len(file.read_text(encoding="utf-8").splitlines())
    # Keys that BFCL's own checker lets no answer meet: an argument that the tool has not, or no value allowed.
    assert [note.partition(" of which")[0] for note in task.notes] == ["4 instances"]


def test_real_samples() -> None:
    path = SAMPLES / "bfcl" / "dev.jsonl"
    if not path.exists():
        pytest.skip("the benchmark samples are not here")
    task = load(path, bfcl.CATEGORIES)
    check(task)
    assert len(everything(task)) == 318
