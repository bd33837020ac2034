"""Rows in the schemas of LiveCodeBench, HumanEval and MBPP, and tasks loaded from files of them."""

import base64
import gzip
import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.code.sandbox.types import Isolation
from dataenvgym.envs.tasks import Task, load_task
from dataenvgym.envs.types import Instance, Provenance, Row

SAMPLES = Path(os.environ.get("DATAENVGYM_SAMPLES", Path(__file__).parents[5] / "shared" / "data"))
ISOLATION: Isolation = "bubblewrap" if shutil.which("bwrap") else "rlimits"
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
    """`settings`: of the section `task`, or options of the task."""
    options = {key: value for key, value in settings.items() if key not in TaskConfig.model_fields}
    rest = {key: value for key, value in settings.items() if key in TaskConfig.model_fields}
    return load_task(TaskConfig(name=name, path=None if path is None else str(path), options=options, **rest))


def everything(task: Task) -> list[Instance]:
    return [*task.train, *task.val, *task.test]


def row(question: str, starter: str, tests: list[dict[str, str]], answer: str = "pass") -> Row:
    """A row as a teacher writes it."""
    made = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="0")
    extra = {"starter": starter, "tests": tests}
    return Row(id="x", question=question, solution="", answer=answer, skill="s", extra=extra, provenance=made)


def sample(name: str, file: str, **settings: Any) -> Task:
    if not (path := SAMPLES / name / file).exists():
        pytest.skip("the benchmark samples are not here")
    return load(name, path, **settings)
