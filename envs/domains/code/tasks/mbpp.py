"""MBPP: 974 short Python tasks, each with three assertions (arXiv 2108.07732)."""

import json
import re
from dataclasses import replace

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.domains.code.columns import entry_point, missing_imports, parsed
from dataenvgym.envs.domains.code.domain import CodeOptions, code_domain
from dataenvgym.envs.domains.code.private_tests import public_tests
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.hub import HubSource, read
from dataenvgym.envs.tasks.records import Record, Splits
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.types import Instance

COLUMNS = ("text", "code", "task_id", "test_list")
HUB = (
    HubSource(
        "google-research-datasets/mbpp",
        ("full",),
        {"train": "train", "test": "test", "val": "validation", "prompt": "prompt"},
    ),
)
FILES = ("train", "test", "validation", "prompt")
RANGES = {"test": (range(11, 511),), "val": (range(511, 601),), "train": (range(601, 975), range(1, 11))}
VAL_SIZE = 90
SHOWN_TESTS = 3
"""Tests of a row in its prompt: as many as nearly all tasks of the benchmark have."""

# Some gold programs are not worth parsing (tabs and spaces mixed): a first line is enough.
_DEFINITION = re.compile(r"^def +(\w+)[^\n]*", re.MULTILINE)
_CALL = re.compile(r"(\w+)\s*\(")


@task(
    "mbpp",
    domain="code",
    summary="MBPP, short functions from a sentence",
    answer_tokens=512,
    row_tokens=1024,
    options=CodeOptions,
)
def load(config: TaskConfig) -> Task:
    """MBPP from the hub, or from `config.path` in the same schema, full or sanitized.

    The `task_id` gives the official split: 11-510 test (500), 511-600 val (90), 601-974 train (374). The ten
    prompt tasks, 1-10, are exemplars and join train. `config.test_size` and `config.val_size` take a sample.
    A task whose text stands in test as well is left out of val and train. Where a split is missing (one of the
    benchmark's files alone), all rows are divided: a fifth is test, then val, then train; see
    `splits.make_task`.

    Scored by `test_setup_code` and `test_list`, as usual; the challenge tests are not used. What the tests name
    of the standard library is imported for them. In the full set a few tests build objects of a class that the
    gold program defines (a tree's `Node`); those cannot pass here, where tests see a program's functions only.

    Raises:
        DataError: a missing column, or a gold program that does not define what the tests call.
        MissingDependencyError: the hub cannot be reached.
    """
    splits = _official(read(config, HUB, FILES))
    domain = code_domain(options_of(config, CodeOptions), prompt)
    return make_task(config, domain, splits, _instance, lambda _: "", config.val_size or VAL_SIZE)


def prompt(item: Item) -> str:
    """The usual prompt: the task and its assertions; of a row, its first three tests as assertions."""
    tests = "\n".join(item.extra.get("asserts") or assertions(item)[:SHOWN_TESTS])
    return (
        f"You are an expert Python programmer, and here is your task: {item.question} "
        f"Your code should pass these tests:\n\n{tests}\n"
    )


def assertions(item: Item) -> list[str]:
    """The tests that an item carries as assertions: JSON values as Python's, a method called on a new object."""
    entry = entry_point(item)
    call = entry.replace(".", "().", 1)
    return [_assertion(call, case["input"], case["output"]) for case in public_tests(item)]


def _assertion(call: str, given: str, expected: str) -> str:
    if not call:
        return f"# input {given!r} prints {expected!r}"
    arguments = ", ".join(_literal(line) for line in given.split("\n") if line.strip())
    return f"assert {call}({arguments}) == {_literal(expected)}"


def _literal(text: str) -> str:
    try:
        return repr(json.loads(text))
    except (ValueError, RecursionError):
        return text


def _official(splits: Splits) -> Splits:
    """The splits of the benchmark by `task_id`; else those of the source, else all rows as one.

    Of rows with one `task_id` the first counts: a clone of the data set's folder has them in full and sanitized.
    """
    rows: list[Record] = []
    seen: set[int] = set()
    for record in (record for members in splits.values() for record in members):
        number = record.data.get("task_id")
        if not isinstance(number, int) or number not in seen:
            rows.append(record)
        if isinstance(number, int):
            seen.add(number)
    official: Splits = {split: [] for split in RANGES}
    for record in rows:
        number = record.data.get("task_id")
        for split, ranges in RANGES.items():
            if isinstance(number, int) and any(number in ids for ids in ranges):
                official[split].append(replace(record, number=number))
    if all(official.values()) and sum(map(len, official.values())) == len(rows):
        return official
    if "all" not in splits:
        names = {"train": ("train", "prompt"), "val": ("val", "validation"), "test": ("test",)}
        joined = {ours: [r for name in theirs for r in splits.get(name, [])] for ours, theirs in names.items()}
        return {split: _numbered(members) for split, members in joined.items() if members}
    return {"all": _numbered(rows)}


def _numbered(rows: list[Record]) -> list[Record]:
    return [replace(record, number=number) for number, record in enumerate(rows)]


def _instance(identity: str, record: Record) -> Instance:
    text = record.text("prompt" if "text" not in record.data and "prompt" in record.data else "text", COLUMNS)
    code = record.text("code", COLUMNS).replace("\r\n", "\n").strip("\n") + "\n"
    tests = [test.strip() for test in _texts(record, "test_list")]
    if not tests:
        raise DataError(f"{record.where}: no test in column 'test_list'.")
    setup = str(record.data.get("test_setup_code") or "").replace("\r\n", "\n").strip("\n")
    before = [*_texts(record, "test_imports"), *([setup] if setup else [])]
    entry, starter = _entry(code, tests[0], record.where)
    script = "\n".join([*before, *tests])
    imports = [f"import {name}" for name in missing_imports(parsed(script, f"{record.where}, tests"))]
    return Instance(
        id=identity,
        question=text.strip(),
        answer=code,
        extra={
            "starter": starter,
            "entry": entry,
            "tests": [],
            "asserts": tests,
            "script": "\n".join([*imports, script]) + "\n",
            "task_id": record.data.get("task_id"),
        },
    )


def _texts(record: Record, column: str) -> list[str]:
    value = record.data.get(column, [])
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise DataError(f"{record.where}: expected a list of texts in column {column!r}, found {value!r:.80}.")
    return list(value)


def _entry(code: str, test: str, where: str) -> tuple[str, str]:
    """The function of the gold program that the first test calls, and its first line."""
    lines = {match[1]: match[0].strip() for match in _DEFINITION.finditer(code)}
    name = next((name for name in _CALL.findall(test) if name in lines), None)
    if name is None:
        raise DataError(
            f"{where}: the first test calls no function of column 'code', which defines "
            f"{', '.join(lines) or 'none'}: {test:.120}"
        )
    return name, lines[name]
