"""LiveCodeBench: contest problems with dates, judged by hidden tests (arXiv 2403.07974)."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.domains.code.domain import CodeOptions, code_domain
from dataenvgym.envs.domains.code.private_tests import COLUMN, IDENTITY, cases, digest
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.hub import download_files, from_hub
from dataenvgym.envs.tasks.records import Record, Splits, local_files, records
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.text import clean
from dataenvgym.envs.types import Instance

HUB = "livecodebench/code_generation_lite"
COLUMNS = (
    "question_content",
    "question_id",
    "contest_date",
    "starter_code",
    "public_test_cases",
    COLUMN,
    "metadata",
)
# The n-th file holds what the n-th release added: 400, 111, 101, 101, 167 and 175 problems.
FILES = {n: "test.jsonl" if n == 1 else f"test{n}.jsonl" for n in range(1, 7)}
WINDOW = "release_v1"
VAL_SIZE = 111

_DAYS = "0001-01-01", "9999-12-31"
_RELEASES = re.compile(r"release_v(?P<upto>\d)|v(?P<first>\d)(_v(?P<last>\d))?")
# The usual prompt for chat models, its system message first, as LiveCodeBench writes it for models without one.
_SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate "
    "a correct Python program that matches the specification and passes all tests. You will NOT return anything "
    "except for the program."
)
_WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code within "
    "delimiters."
)
_WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the "
    "sample inputs). Enclose your code within delimiters as follows."
)
_PLACEHOLDER = "# YOUR CODE HERE"


class Window(NamedTuple):
    """Which problems are the test: those of some releases, or those between two dates, both included."""

    releases: tuple[int, ...]
    first: str = ""
    last: str = ""


class LiveCodeBenchOptions(CodeOptions):
    """The options of LiveCodeBench."""

    window: str | None = Field(
        None,
        description="The problems that are the test, as releases by LiveCodeBench's own names (release_v2, v5, "
        "v4_v6) or as dates (2024-09-01..2025-04-30, either may be left out). null: release_v1.",
    )


@task(
    "livecodebench",
    domain="code",
    summary="LiveCodeBench, contest problems by date",
    answer_tokens=2000,
    row_tokens=4096,
    options=LiveCodeBenchOptions,
)
def load(config: TaskConfig) -> Task:
    """LiveCodeBench from the hub, or from `config.path`: a clone of the data set's folder, or other files.

    Test is the option `window`, by default release_v1 (400 problems), as in the DataEnvGym paper; or
    `config.test_size` of it. LiveCodeBench has no training problems, and what the teacher is shown may be
    neither val nor test, so the other splits are other releases. Val is the release after the window, or else
    the one before it: release_v2 minus release_v1 (111 problems), as in the paper; or `config.val_size` of it.
    Train, the exemplars, is the release after that: release_v3 minus release_v2 (101). Where one release is
    left, and with dates, val (`config.val_size`, default 111, at most half) is drawn from the problems outside
    the window and the rest is train. Files without releases and without dates are divided: a fifth is test,
    then val, then train; see `splits.make_task`.

    The data set is read as the files it consists of; the script beside them is not run. There are no gold
    programs and no gold skills. `extra` has `difficulty`, `platform`, `date` and `question_id` as well. Private
    tests stay on disk until they are run (`private_tests`). Train instances carry the public tests alone:
    nothing is run on them, and they are shown and saved whole.

    LiveCodeBench gives a test 6 seconds by the clock; here the option `cpu_seconds` counts.

    Raises:
        ConfigError: a window that is not understood, or that leaves no problems for val and train.
        DataError: a missing column, or no problem in the window.
        MissingDependencyError: the hub cannot be reached.
    """
    options = options_of(config, LiveCodeBenchOptions)
    window = parse_window(_asked(config) or WINDOW)
    task = make_task(
        config,
        code_domain(options, prompt, whole_programs=True),
        _splits(config, window),
        _instance,
        lambda _: "",
        config.val_size or VAL_SIZE,
    )
    return replace(task, train=tuple(map(_public, task.train)))


def prompt(item: Item) -> str:
    """LiveCodeBench's prompt: the question, then the starter code, or that input comes from stdin."""
    starter = item.extra.get("starter") or ""
    form, code = (_WITH_STARTER, starter) if starter.strip() else (_WITHOUT_STARTER, _PLACEHOLDER)
    return (
        f"{_SYSTEM}\n\n### Question:\n{item.question}\n\n### Format: {form}\n```python\n{code}\n```\n\n"
        "### Answer: (use the provided format with backticks)"
    )


def parse_window(text: str) -> Window:
    """`release_v2` (releases 1 to 2), `v2`, `v2_v4` as LiveCodeBench names them, or `2024-09-01..2025-04-30`.

    Either date may be left out.

    Raises:
        ConfigError: it is none of these.
    """
    if match := _RELEASES.fullmatch(text):
        first = int(match["first"] or 1)
        last = int(match["upto"] or match["last"] or first)
        if first in FILES and last in FILES and first <= last:
            return Window(tuple(range(first, last + 1)))
    start, dots, end = text.partition("..")
    try:
        days = [date.fromisoformat(day).isoformat() for day in (start or _DAYS[0], end or _DAYS[1])]
        if dots and days[0] <= days[1]:
            return Window((), *days)
    except ValueError:
        pass
    raise ConfigError(
        f"task.options.window: {text!r} is no window of LiveCodeBench. Expected one of its releases "
        f"(release_v1 to release_v{max(FILES)}, or v5, v4_v6) or dates as in 2024-09-01..2025-04-30."
    )


def _asked(config: TaskConfig) -> str | None:
    return options_of(config, LiveCodeBenchOptions).window


def _splits(config: TaskConfig, window: Window) -> Splits:
    if config.path is None:
        if window.releases:
            return _by_release(window, dict.fromkeys(FILES), config)
        return _by_date(window, _fetch(config, FILES))
    path = Path(config.path).expanduser()
    here = {n: path / name for n, name in FILES.items() if (path / name).is_file()}
    files = list(here.values()) or local_files(path)
    if not window.releases:
        return _by_date(window, files)
    if here:
        return _by_release(window, here, config)
    if asked := _asked(config):
        raise ConfigError(
            f"task.options.window: {str(path)!r} has no files named as LiveCodeBench's releases ({FILES[1]}, "
            f"{FILES[2]}, ...) to take {asked!r} from. Expected dates as in 2024-09-01..2025-04-30, or null."
        )
    return {"all": list(_records(files))}


def _by_release(window: Window, here: Mapping[int, Path | None], config: TaskConfig) -> Splits:
    """The splits by release; `here`: the releases there are, with their files where these are local."""
    if missing := [FILES[n] for n in window.releases if n not in here]:
        raise DataError(f"task.path: {config.path!r} lacks {', '.join(missing)}, which task.options.window needs.")
    first, last = window.releases[0], window.releases[-1]
    others = [n for n in here if n > last] + [n for n in reversed(list(here)) if n < first]
    if not others:
        raise ConfigError(
            f"task.options.window: {_asked(config) or WINDOW!r} leaves no release for val and train. Expected a "
            f"smaller window, such as v{last}" + (", or more files of the data set." if config.path else ".")
        )
    chosen = {"test": window.releases, "val": (others[0],), "train": tuple(others[1:2])}
    if not chosen["train"]:
        chosen = {"test": window.releases, "train": (others[0],)}
    splits: Splits = {}
    for split, numbers in chosen.items():
        files = [path for n in numbers if (path := here[n]) is not None]
        splits[split] = list(_records(files or _fetch(config, numbers)))
    return splits


def _by_date(window: Window, files: Iterable[Path]) -> Splits:
    splits: Splits = {"test": [], "train": []}
    for record in _records(files):
        day = record.text("contest_date", COLUMNS)[:10]
        splits["test" if window.first <= day <= window.last else "train"].append(record)
    if not splits["test"]:
        days = sorted(record.data["contest_date"][:10] for record in splits["train"])
        raise DataError(
            f"task.options.window: no problem from {window.first} to {window.last}; "
            + (f"the files have problems from {days[0]} to {days[-1]}." if days else "the files are empty.")
        )
    return splits


def _fetch(config: TaskConfig, releases: Iterable[int]) -> list[Path]:
    names = [FILES[n] for n in releases]
    return from_hub(config.name, [HUB], lambda name: download_files(name, names, config.revision))


def _records(files: Iterable[Path]) -> Iterator[Record]:
    """The rows with the place of their private tests instead of these, where they can be read there again."""
    for record in records(files):
        coded = record.text(COLUMN, COLUMNS, as_it_is=True)
        place: dict[str, Any] | None = {"coded": coded}
        if coded.strip() == "[]":
            place = None
        elif record.file is not None:
            identity = record.text(IDENTITY, COLUMNS)
            content = digest(record.data[COLUMN])
            place = {"file": str(record.file), "offset": record.offset, "id": identity, "sha256": content}
        yield replace(record, data={**record.data, COLUMN: place})


def _instance(identity: str, record: Record) -> Instance:
    question, name, day = (record.text(column, COLUMNS) for column in (COLUMNS[0], IDENTITY, "contest_date"))
    starter = record.data.get("starter_code")
    public, metadata = (_json(record, column) for column in ("public_test_cases", "metadata"))
    if not isinstance(starter, str) or not isinstance(metadata, dict):
        raise DataError(f"{record.where}: expected text in 'starter_code' and a JSON object in 'metadata'.")
    function = metadata.get("func_name") or ""
    starter = clean(starter)
    in_class = re.search(r"^class Solution\b", starter, re.MULTILINE)
    extra = {
        "starter": starter,
        "entry": f"Solution.{function}" if function and in_class else str(function),
        "tests": cases(public, f"{record.where}, column 'public_test_cases'"),
        "question_id": name,
        "date": day[:10],
        "platform": record.data.get("platform"),
        "difficulty": record.data.get("difficulty"),
    }
    if record.data[COLUMN] is not None:
        extra["private"] = record.data[COLUMN]
    return Instance(id=identity, question=question.strip(), answer="", extra=extra)


def _json(record: Record, column: str) -> Any:
    try:
        return json.loads(record.text(column, COLUMNS, as_it_is=True))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{record.where}: column {column!r} is no JSON ({error}).") from error


def _public(instance: Instance) -> Instance:
    kept = {name: value for name, value in instance.extra.items() if name != "private"}
    return instance.model_copy(update={"extra": kept})
