"""Own data that cannot be used: each fault is one line with its place; where allowed, only the bad rows go."""

import codecs
import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text import own_data
from dataenvgym.envs.errors import DataEnvGymError
from dataenvgym.graphs.config import load_config

WORDS = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay", "kite", "lynx")
ROWS = [{"question": f"What does the {word} say?", "answer": f"It says {word}."} for word in WORDS]


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def changed(number: int, **change: Any) -> bytes:
    """The good rows, that of a number from 1 changed."""
    return lines([{**row, **change} if at == number else row for at, row in enumerate(ROWS, 1)])


def without(number: int, column: str) -> bytes:
    return lines([{k: v for k, v in row.items() if at != number or k != column} for at, row in enumerate(ROWS, 1)])


def with_line(number: int, line: bytes) -> bytes:
    found = lines(ROWS).splitlines(keepends=True)
    return b"".join([*found[: number - 1], line, b"\n", *found[number:]])


class Fault(NamedTuple):
    """A file, what is said of it, and the options it is read with."""

    name: str
    content: bytes
    said: str
    options: Mapping[str, Any] = {}
    row: bool = True
    """Whether it is one row that is bad, which may be left out."""


CHOICES = {"question": "Which?", "choices": ["ant", "bee"], "answer": "B"}
FAULTS = {
    "not JSON": Fault("a.jsonl", with_line(3, b"{'question': 1}"), "a.jsonl, row 3: not valid JSON"),
    "a sentence": Fault("a.jsonl", with_line(3, b"What?"), "a.jsonl, row 3: not valid JSON"),
    "nested too deep": Fault(
        "a.jsonl", with_line(3, b"[" * 100_000), "a.jsonl, row 3: JSON that is nested too deep"
    ),
    "no object": Fault("a.jsonl", with_line(3, b"[1, 2]"), "a.jsonl, row 3: expected an object with columns"),
    "another encoding": Fault(
        "a.jsonl", with_line(3, '{"question": "é"}'.encode("latin-1")), "a.jsonl, row 3: not readable as UTF-8"
    ),
    "5 MB line": Fault(
        "a.jsonl", changed(3, question="x" * 5_000_000), "a.jsonl, row 3: the question has 5,000,000 characters"
    ),
    "long answer": Fault(
        "a.jsonl", changed(3, answer="x" * 200_000), "a.jsonl, row 3: the answer has 200,000 characters"
    ),
    "missing answer": Fault("a.jsonl", without(3, "answer"), "a.jsonl, row 3: no column 'answer'"),
    "misspelt column in a row": Fault(
        "a.jsonl",
        with_line(3, b'{"question": "a?", "anser": "b"}'),
        "a.jsonl, row 3: no column 'answer' (task.options.answer). Did you mean 'anser'?",
    ),
    "null answer": Fault("a.jsonl", changed(3, answer=None), "a.jsonl, row 3: the answer is missing (null)"),
    "empty answer": Fault("a.jsonl", changed(3, answer=" "), "a.jsonl, row 3: the answer is empty"),
    "null question": Fault("a.jsonl", changed(3, question=None), "a.jsonl, row 3: the question is missing (null)"),
    "number as question": Fault("a.jsonl", changed(3, question=7), "a.jsonl, row 3: the question is a number"),
    "boolean": Fault("a.jsonl", changed(3, answer=True), "a.jsonl, row 3: the answer is true or false, no text"),
    "list": Fault("a.jsonl", changed(3, answer=["a", "b"]), "a.jsonl, row 3: the answer is a list, no text"),
    "not a number": Fault(
        "a.jsonl", changed(3, answer=float("nan")), "a.jsonl, row 3: the answer is a number, no"
    ),
    "list as question": Fault("a.jsonl", changed(3, question=["a"]), "a.jsonl, row 3: the question is a list"),
    "answer with the mark": Fault(
        "a.jsonl", changed(3, answer="b Answer: c"), "a.jsonl, row 3: the answer cannot be read back"
    ),
    "duplicate id": Fault(
        "a.jsonl",
        lines([{**row, "id": max(at, 2)} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 2: the id '2' is that of",
    ),
    "bracket in an id": Fault(
        "a.jsonl",
        lines([{**row, "id": f"{at}]" if at == 3 else at} for at, row in enumerate(ROWS)]),
        "row 4: the id",
    ),
    "template without its column": Fault(
        "a.jsonl",
        without(3, "answer"),
        "a.jsonl, row 3: task.options.answer: '{{ answer }}.' fails: 'answer' is undefined",
        {"answer": "{{ answer }}."},
    ),
    "no number": Fault(
        "a.jsonl",
        lines([{**row, "answer": "3 or 4" if at == 3 else at} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 3: the answer '3 or 4' is no number, or more than one",
        {"scorer": "number"},
    ),
    "no label": Fault(
        "a.jsonl",
        lines([{**row, "answer": "meh" if at == 3 else "good"} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 3: the answer 'meh' is none of the labels good, bad",
        {"labels": ["good", "bad"]},
    ),
    "no choice": Fault(
        "a.jsonl",
        lines([{**CHOICES, "question": f"{at}?", "answer": "E" if at == 3 else "B"} for at in range(1, 13)]),
        "a.jsonl, row 3: the answer 'E' is none of its 2 choices",
    ),
    "one choice": Fault(
        "a.jsonl",
        lines(
            [{**CHOICES, "question": f"{at}?", "choices": ["a"] if at == 3 else ["a", "b"]} for at in range(1, 13)]
        ),
        "a.jsonl, row 3: the choices are no list of 2 to 26 texts: ['a']",
    ),
    "no field": Fault(
        "a.jsonl",
        lines([{**row, "answer": {"b": 1} if at == 3 else {"a": 1}} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 3: the answer has no field 'a'. It has b",
        {"fields": ["a"]},
    ),
    "no match": Fault(
        "a.jsonl",
        lines([{**row, "answer": "soon" if at == 3 else "in 1999"} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 3: the pattern finds nothing in the answer 'soon'",
        {"pattern": "[0-9]+"},
    ),
    "no split": Fault(
        "a.jsonl",
        lines([{**row, "part": "third" if at == 3 else "train"} for at, row in enumerate(ROWS, 1)]),
        "a.jsonl, row 3: the split 'third' is none of train, val and test",
        {"split": "part"},
    ),
    "more fields than columns": Fault(
        "a.csv",
        b"question,answer\na?,b\nc?,d,e\n" + b"".join(b"f%d?,g%d\n" % (n, n) for n in range(9)),
        "a.csv, row 3: 1 more fields than columns",
    ),
    "stray quote": Fault(
        "a.csv",
        b'question,answer\na?,b\n"c?"x,d\n' + b"".join(b"f%d?,g%d\n" % (n, n) for n in range(9)),
        "a.csv, row 3: not a readable CSV file",
    ),
    "an empty field": Fault(
        "a.csv",
        b"question,answer\na?,b\nc?,\n" + b"".join(b"f%d?,g%d\n" % (n, n) for n in range(9)),
        "a.csv, row 3: the answer is empty",
    ),
    # What no row is to blame for.
    "empty": Fault("a.jsonl", b"", "a.jsonl: the file is empty", row=False),
    "blank": Fault("a.jsonl", b"\n \n", "a.jsonl: the file is empty but for white space", row=False),
    "no gzip": Fault("a.jsonl.gz", lines(ROWS), "its name ends in .gz, and it is no gzip file", row=False),
    "cut gzip": Fault("a.jsonl.gz", gzip.compress(lines(ROWS), mtime=0)[:-9], "cut or damaged", row=False),
    "no parquet": Fault("a.parquet", lines(ROWS), "a.parquet: not a readable parquet file", row=False),
    "UTF-16": Fault("a.jsonl", lines(ROWS).decode().encode("utf-16"), "this is UTF-16 text. Save it", row=False),
    "columns twice": Fault("a.csv", b"a,question,a\n1,2,3\n", "columns that stand there twice: 'a'", row=False),
    "no usual name": Fault(
        "a.jsonl",
        lines([{"q1": "a?", "a1": "b"}] * 9),
        "row 1: no column has a usual name for the question",
        row=False,
    ),
    "misspelt column": Fault(
        "a.jsonl",
        lines(ROWS),
        "a.jsonl, row 1: no column 'questoin' (task.options.question). Did you mean 'question'?",
        {"question": "questoin"},
        row=False,
    ),
    "one class": Fault(
        "a.jsonl",
        lines([{**row, "answer": "good"} for row in ROWS]),
        "a.jsonl, row 1: all 12 answers are 'good': one class",
        row=False,
    ),
    "too few": Fault("a.jsonl", lines(ROWS[:2]), "too few rows for three splits", row=False),
    "one question": Fault(
        "a.jsonl", lines(ROWS[:1] * 20), "too few rows for three splits", {"scorer": "text"}, row=False
    ),
    "no template": Fault(
        "a.jsonl",
        lines(ROWS),
        "task.options.question: Value error, not a Jinja template",
        {"question": "{{ question"},
        row=False,
    ),
    "no pattern": Fault(
        "a.jsonl",
        lines(ROWS),
        "task.options.pattern: Value error, not a regular expr",
        {"pattern": "("},
        row=False,
    ),
    "no tolerance": Fault(
        "a.jsonl", lines(ROWS), "expected a number from 0 on such as 0.01", {"tolerance": "much"}, row=False
    ),
    "unknown scorer": Fault(
        "a.jsonl", lines(ROWS), "unknown scorer 'numbr'. Did you mean 'number'?", {"scorer": "numbr"}, row=False
    ),
    "another scorer's setting": Fault(
        "a.jsonl",
        lines(ROWS),
        "task.options.tolerance: the scorer 'text' does not read it. It is for number",
        {"scorer": "text", "tolerance": 1},
        row=False,
    ),
    "regex without its pattern": Fault(
        "a.jsonl", lines(ROWS), "task.options.pattern: the scorer 'regex' needs it", {"scorer": "regex"}, row=False
    ),
    "unknown option": Fault(
        "a.jsonl", lines(ROWS), "Did you mean 'task.options.question'?", {"qestion": "a"}, row=False
    ),
}
ROW_FAULTS = {name: fault for name, fault in FAULTS.items() if fault.row}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., own_data.OwnData]:
    def loaded(name: str, content: bytes, **options: Any) -> own_data.OwnData:
        (tmp_path / name).write_bytes(content)
        return own_data.load(TaskConfig(name="custom", path=str(tmp_path / name), options=options))

    return loaded


Load = Callable[..., own_data.OwnData]


def refusal(load: Load, fault: Fault, **more: Any) -> str:
    with pytest.raises(DataEnvGymError) as caught:
        load(fault.name, fault.content, **fault.options, **more)
    return str(caught.value)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_with_its_place(name: str, load: Load) -> None:
    said = refusal(load, FAULTS[name])
    assert FAULTS[name].said in said
    assert len(said) < 600 and len([line for line in said.splitlines() if line.strip()]) <= 2
    if FAULTS[name].row:
        assert said.endswith("task.options.on_bad=skip leaves such rows out.")


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_bad_rows_are_left_out_and_told_where_that_is_allowed(name: str, load: Load) -> None:
    found = load(ROW_FAULTS[name].name, ROW_FAULTS[name].content, **ROW_FAULTS[name].options, on_bad="skip")
    assert len(found.bad) == 1 and ROW_FAULTS[name].said in found.bad[0]
    assert len(found.places) >= 10
    assert any(note.startswith("1 row cannot be used and left out") for note in found.task.notes)


def test_many_bad_rows_are_counted_and_the_first_are_shown(load: Load) -> None:
    rows = [{**row, "answer": None} if at < 5 else row for at, row in enumerate(ROWS, 1)]
    said = refusal(load, Fault("a.jsonl", lines(rows), ""))
    assert "row 1: the answer is missing (null). 3 more rows cannot be used." in said
    note = next(n for n in load("a.jsonl", lines(rows), on_bad="skip").task.notes if "left out" in n)
    assert note.startswith("4 rows") and "row 1:" in note and "row 3:" in note and "row 4:" not in note


def test_where_all_rows_are_bad_nothing_is_left_to_skip(load: Load) -> None:
    rows = [{**row, "answer": None} for row in ROWS]
    said = refusal(load, Fault("a.jsonl", lines(rows), ""), on_bad="skip")
    assert "row 1: the answer is missing (null). 11 more rows cannot be used." in said


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + lines(ROWS),
        lines(ROWS).replace(b"\n", b"\r\n"),
        b"\n\n".join(lines(ROWS).splitlines()),
        gzip.compress(lines(ROWS), mtime=0),
        json.dumps(ROWS, indent=1).encode(),
    ],
    ids=["BOM", "CRLF", "blank lines", "gzip", "a list"],
)
def test_what_is_no_fault_is_read_as_if_it_were_not_there(content: bytes, load: Load) -> None:
    plain, found = load("plain.jsonl", lines(ROWS)), load("a.jsonl", content)
    assert (found.task.val, found.task.test) == (plain.task.val, plain.task.test)


def test_controls_are_taken_out_and_told(load: Load) -> None:
    found = load("a.jsonl", changed(3, question="What\x1b[31m is\x00 red?"))
    assert any(one.question == "What is red?" for one in found.read["all"])
    assert any("control characters" in note and "row 3" in note for note in found.task.notes)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"val_size": 500}, "task.val_size: 500 is too many: the data have 8 for val and train"),
        ({"test_size": 500}, "task.test_size: 500 is too many: the data have 12 different questions in all"),
        ({"test_size": 6, "val_size": 4}, "task.val_size: 4 is too many"),
    ],
)
def test_sizes_that_the_data_do_not_have_are_refused(sizes: dict[str, int], said: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS))
    with pytest.raises(DataEnvGymError, match=said):
        own_data.load(TaskConfig(name="custom", path=str(tmp_path / "a.jsonl"), **sizes))


@pytest.mark.parametrize("other", ["test", "val"])
def test_train_that_is_also_test_or_val_is_refused(other: str, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(lines(ROWS))
    (tmp_path / f"{other}.jsonl").write_bytes(lines(ROWS))
    with pytest.raises(DataEnvGymError, match=r"train are in (test|val) as well. Is it the same file"):
        own_data.load(TaskConfig(name="custom", path=str(tmp_path)))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "set task.path to a file, a folder or hub:org/name"),
        ("hub:", "names no data set. Expected hub:org/name"),
        ("nowhere.jsonl", "no file or folder 'nowhere.jsonl'"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(path: str | None, said: str) -> None:
    with pytest.raises(DataEnvGymError, match=said):
        own_data.load(TaskConfig(name="custom", path=path))


SCORERS = """
def raises(item, answer):
    raise RuntimeError("no network")


def refuses(item, answer):
    return False


def fine(item, answer):
    return item.answer == answer
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", r"row \d+: scorer 'own.py:raises' failed: RuntimeError: no network"),
        ("refuses", r"row \d+: scorer 'own.py:refuses' refuses the right answer 'It says"),
        ("missing", "unknown attribute of .*own.py 'missing'"),
    ],
)
def test_a_scorer_of_ones_own_that_fails_is_told_with_the_first_place(
    name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(SCORERS)
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS))

    def judged_by(function: str) -> own_data.OwnData:
        options = [f"task.path={tmp_path}/a.jsonl", f"task.options.scorer={tmp_path}/own.py:{function}"]
        return own_data.load(load_config(None, ["task.name=custom", *options]).task)

    with pytest.raises(DataEnvGymError, match=said):
        judged_by(name)
    assert judged_by("fine").judge.name == "own.py:fine"


def test_no_code_is_loaded_for_a_config_that_was_not_read_here(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('was run')\n")
    with pytest.raises(DataEnvGymError, match=r"mine.py:fine' is not loaded. Code is loaded for a config that"):
        load("a.jsonl", lines(ROWS), scorer=f"{tmp_path}/mine.py:fine")
