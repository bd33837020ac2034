"""Files of data as people have them: read where their content can be told, else one line says what is wrong."""

import codecs
import gzip
import io
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.tasks.gsm8k import load
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.records import read_local
from dataenvgym.envs.text import clean, faults

ROWS = [{"question": f"What is {n} + {n}?", "answer": f"It is.\n#### {2 * n}"} for n in range(10)]
JSONL = "\n".join(map(json.dumps, ROWS)).encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


PARQUET = parquet()
LINES = JSONL.split(b"\n")
# Without the time of packing, which would be in names of tests: workers must collect the same ones.
DAMAGED = bytearray(gzip.compress(JSONL, mtime=0))
DAMAGED[len(DAMAGED) // 2] ^= 0xFF
DAMAGED[len(DAMAGED) // 2 + 1] ^= 0x5A


def read(folder: Path, name: str, content: bytes) -> list[object]:
    file = folder / name
    file.write_bytes(content)
    return [record.data for record in read_local(file)["all"]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", JSONL),
        ("a.jsonl", codecs.BOM_UTF8 + JSONL),
        ("a.jsonl", JSONL.replace(b"\n", b"\r\n")),
        ("a.jsonl", JSONL + b"\n\n"),
        ("a.json", json.dumps(ROWS).encode()),
        ("a.json", codecs.BOM_UTF8 + json.dumps(ROWS).encode()),
        ("a.jsonl.gz", gzip.compress(JSONL, mtime=0)),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a.jsonl", gzip.compress(JSONL, mtime=0)),
        ("a.json", JSONL),
        ("a.jsonl", json.dumps(ROWS, indent=1).encode()),
        ("a.txt", b" \n" + JSONL),
        ("a.jsonl", PARQUET),
        ("a.parquet.gz", gzip.compress(PARQUET, mtime=0)),
    ],
)
def test_what_can_be_read_is_read(name: str, content: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, name, content) == ROWS


@pytest.mark.parametrize(
    ("name", "comma"),
    [("a.csv", ","), ("a.tsv", "\t"), ("a.csv.gz", ","), ("a.csv", ";"), ("a.jsonl", ","), ("a", "\t")],
)
def test_a_table_is_read_by_its_first_line(name: str, comma: str, tmp_path: Path) -> None:
    table = f'question{comma}answer\n"1 + 1?"{comma}"It is{comma}\n#### 2"\n'.encode()
    content = gzip.compress(table) if name.endswith(".gz") else codecs.BOM_UTF8 + table
    assert read(tmp_path, name, content) == [{"question": "1 + 1?", "answer": f"It is{comma}\n#### 2"}]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("a.csv", "question,answer\rq,a\r"),
        ("a", "question\tanswer\rq\ta"),
        ("a.csv", "\n\r\nquestion,answer\n\nq,a\n"),
        ("a.csv", "question,answer,,\nq,a,,\n"),
        ("a.csv", "question,answer\nq,a,,\n"),
        ("a.csv", ",question,answer\n0,q,a\n"),
        ("a.csv", ";question;answer\n0;q;a\n"),
        ("a.tsv", "\tquestion\tanswer\n0\tq\ta\n"),
        ("a.tsv", "question\tanswer\t\nq\ta\t\n"),
        ("a.tsv", "question\tanswer\tin words, long, short\nq\ta\tb\n"),
    ],
)
def test_a_table_is_read_as_spreadsheets_and_pandas_write_it(name: str, table: str, tmp_path: Path) -> None:
    (row,) = read(tmp_path, name, table.encode())
    assert isinstance(row, dict) and (row["question"], row["answer"]) == ("q", "a")


def test_a_table_of_one_column_is_read_by_its_name(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", b"question\n1, 2\n") == [{"question": "1, 2"}]
    assert read(tmp_path, "a.csv", b"question\n1; 2\n") == [{"question": "1; 2"}]


def test_only_a_line_feed_ends_a_line_of_json_and_no_character_is_lost(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d"
    lines = json.dumps({"question": text}, ensure_ascii=False).encode()
    assert read(tmp_path, "a.jsonl", lines + b"\n" + lines) == [{"question": text}] * 2
    assert read(tmp_path, "a.csv", f"question,answer\n{text}\0,2\n".encode()) == [
        {"question": f"{text}\0", "answer": "2"}
    ]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    for name in ("pipe.jsonl", "loop.jsonl", "x" * 5000):
        with pytest.raises(DataError, match=r"task\.path: ") as caught:
            read_local(tmp_path / name)
        assert len(str(caught.value)) < 400
    (tmp_path / "rows.jsonl").write_bytes(JSONL)
    (tmp_path / "self").symlink_to(tmp_path)
    assert [record.data for record in read_local(tmp_path)["all"]] == ROWS


def test_a_line_of_five_megabytes_is_read(tmp_path: Path) -> None:
    row = {"question": "x" * 5_000_000, "answer": "#### 1"}
    assert read(tmp_path, "a.jsonl", json.dumps(row).encode()) == [row]
    assert read(tmp_path, "a.csv", f"question,answer\n{row['question']},#### 1\n".encode()) == [row]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl.gz", JSONL, "no gzip file"),
        (
            "a.jsonl.gz",
            gzip.compress(JSONL, mtime=0)[:-30],
            "not a readable gzip file; cut or damaged .Compressed",
        ),
        ("a.jsonl.gz", gzip.compress(JSONL, mtime=0)[:-9], "not a readable gzip file; cut or damaged .Compressed"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.jsonl.gz", bytes(DAMAGED), "not a readable gzip file; cut or damaged"),
        ("a.jsonl", gzip.compress(gzip.compress(JSONL, mtime=0), mtime=0), "packed by gzip twice"),
        ("a.jsonl", b" \n\r\n", "empty but for white space"),
        ("a.jsonl", codecs.BOM_UTF8, "empty but for white space"),
        ("a.json", b"[]", "there are no rows in it"),
        ("a.csv", b"question,answer\n", "there are no rows in it"),
        ("a.csv", b"question,question\n1,2\n", "row 1: columns that stand there twice: 'question'"),
        ("a.jsonl", JSONL.decode().encode("utf-32"), "UTF-32 text. Save it as UTF-8"),
        ("a.jsonl", JSONL.decode().encode("utf-16-le"), "UTF-16 or UTF-32 text, or no text"),
        ("a.csv", b"question,answer\n1,2\n".decode().encode("utf-32-be"), "UTF-16 or UTF-32 text, or no text"),
        ("a.jsonl", b'{"question": "a\0b"}', "row 1: not valid JSON .Invalid control character"),
        (
            "a.csv",
            b"question,answer\n1,2\ncaf\xe9,3\n",
            "row 3: not readable as UTF-8 text .byte 0xe9 at column 4",
        ),
        ("a.json", b'[\n"caf\xe9"]', "line 2: not readable as UTF-8 text"),
        ("a.xlsx", b"PK\x03\x04rest", "spreadsheet"),
        ("a.jsonl", b"<!DOCTYPE html>", "a web page"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("a.jsonl", b"words\n", "row 1: not valid JSON.*Expected JSON"),
        ("a.jsonl", b"\n".join([*LINES[:4], b'{"a": 1', *LINES[4:]]), "row 5: not valid JSON"),
        ("a.jsonl", LINES[0] + b'\n{"a": ' + b"9" * 5000 + b"}", "row 2: not valid JSON"),
        ("a.json", b'[{"a": 1},\n{"a" 2}]', "line 2: not valid JSON"),
        ("a.jsonl", JSONL.decode().encode("utf-16"), "UTF-16 text. Save it as UTF-8"),
        ("a.jsonl", b'{"question": "caf\xe9"}', "not readable as UTF-8"),
        ("a.jsonl", b"[1, 2]", "row 1: expected an object with columns, found int"),
        ("a.jsonl", b"[1, 2]\n[3, 4]\n", "row 1: expected an object with columns, found list"),
        ("a.json", json.dumps(ROWS, indent=1).encode() + b"]", "line 42: not valid JSON"),
        ("a.jsonl", b"[" * 100_000, "nested too deep"),
        ("a.json", b'{"a":' * 100_000, "nested too deep"),
        ("a.csv", b'question,answer\n"1 + 1', "row 2: not a readable CSV file"),
        ("a.csv", b"question,answer\n1,2,3\n", "row 2: 1 more fields than columns"),
        ("a.parquet", b"PAR1", "not a readable parquet file"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_place(
    name: str, content: bytes, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=f"(?s){says}") as caught:
        read(tmp_path, name, content)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


PIECES = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b" ", b"\0", b"\xff", b"\xc3"),
    *(b"question", b"1", b"NaN", b'{"question": "x"}', b"question,answer\n", "\x85\u2028é".encode()),
    *(codecs.BOM_UTF8, codecs.BOM_UTF16_LE, gzip.compress(JSONL, mtime=0), b"PAR1", b"PK\x03\x04"),
]


@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=3)).map(b"".join),
    st.sampled_from(["a", "a.json", "a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.csv.gz"]),
    st.booleans(),
)
def test_whatever_a_file_holds_it_is_rows_or_one_line(content: bytes, name: str, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            rows = read(Path(folder), name, gzip.compress(content) if packed else content)
        except DataError as error:
            assert str(error).isprintable() and str(Path(folder) / name) in str(error)
        else:
            assert rows and all(isinstance(row, dict) for row in rows)


def test_a_large_file_cut_short_names_the_last_row(tmp_path: Path) -> None:
    import random

    rng = random.Random(0)
    rows = [json.dumps({"question": rng.randbytes(60).hex(), "answer": "#### 1"}) for _ in range(5000)]
    packed = gzip.compress("\n".join(rows).encode())
    with pytest.raises(DataError, match=r"cut or damaged after row \d{4} "):
        read(tmp_path, "a.jsonl.gz", packed[: len(packed) // 2])


def test_a_line_can_be_read_again_where_it_begins(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(codecs.BOM_UTF8 + JSONL.replace(b"\n", b"\r\n\n"))
    for record in read_local(file.rename(tmp_path / "a.jsonl"))["all"]:
        assert record.file is not None
        with record.file.open("rb") as opened:
            opened.seek(record.offset)
            assert json.loads(opened.readline()) == record.data


def test_a_folder_without_data_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(DataError, match=r"no \.jsonl.* It holds 'notes\.docx'"):
        read_local(tmp_path)


def test_an_error_shows_no_raw_escape(tmp_path: Path) -> None:
    row = {"\x1b[31m\ud800": 1}
    with pytest.raises(DataError) as caught:
        task(tmp_path, [row])  # type: ignore[list-item]
    assert faults(str(caught.value)) == []


def task(folder: Path, rows: list[dict[str, str]]) -> Task:
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "test.jsonl").write_text(
        "\n".join(json.dumps({**row, "question": f"Test: {row['question']}"}) for row in ROWS)
    )
    return load(TaskConfig(name="gsm8k", path=str(folder), val_size=2))


@pytest.mark.parametrize(("column", "name"), [("question", "question"), ("answer", "solution")])
def test_a_text_too_long_for_any_prompt_is_refused(column: str, name: str, tmp_path: Path) -> None:
    row = {**ROWS[0], column: "x" * 5_000_000 + "\n#### 1"}
    with pytest.raises(
        DataError, match=rf"train\.jsonl, row 11: the {name} has 5,000,00\d char.* at most 100,000"
    ):
        task(tmp_path, [*ROWS, row])


def test_questions_that_are_left_out_are_counted_with_an_example(tmp_path: Path) -> None:
    other = {**ROWS[1], "answer": "#### 99"}
    found = task(tmp_path, [*ROWS, ROWS[0], {**ROWS[2], "question": ROWS[2]["question"].upper()}, other])
    assert len(found.train) + len(found.val) == 10
    first, second = found.notes
    assert first == "3 questions are in the data more than once; the first of each stays"
    assert second.startswith("1 of them have another answer") and "'99'" in second and "'2'" in second


def test_texts_are_cleaned_once_and_said(tmp_path: Path) -> None:
    bad = {"question": "A \ud800 \x1b[31mred\x00 \u202eone?", "answer": "#### 1"}
    found = task(tmp_path, [*ROWS, bad])
    (question,) = (item.question for item in (*found.train, *found.val) if "one?" in item.question)
    assert question == "A \ufffd red one?"
    (note,) = found.notes
    assert note.startswith("1 row held control characters") and "train.jsonl, row 11, column 'question'" in note


def test_a_split_that_tells_little_is_said(tmp_path: Path) -> None:
    notes = task(tmp_path, ROWS).all_notes()
    assert [note.split(" has ")[0] for note in notes] == ["val", "test"]
    assert "val has 2 instances" in notes[0] and "from 21 instances on (task.val_size)" in notes[0]


@given(st.text())
def test_clean_text_has_no_faults_and_stays(text: str) -> None:
    cleaned = clean(text)
    assert faults(cleaned) == [] and clean(cleaned) == cleaned


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"])
def test_no_two_words_become_one_by_cleaning(mark: str) -> None:
    assert clean(f"one{mark}two") == "one\ntwo"
    assert clean("one\u2028two") == "one\u2028two"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\n\r")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    plain = "".join(char for char in text if char not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert clean(plain) == plain and faults(plain) == []
