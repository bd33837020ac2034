"""BFCL: the single-turn categories of the Berkeley Function-Calling Leaderboard (ICML 2025, Patil et al.)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item, Mark
from dataenvgym.envs.domains.tool_use import bfcl_rules as rules
from dataenvgym.envs.domains.tool_use.calls import read_calls, write_calls
from dataenvgym.envs.domains.tool_use.domain import tool_domain
from dataenvgym.envs.domains.tool_use.schemas import tool_fault
from dataenvgym.envs.domains.tool_use.values import NotAValueError, plain
from dataenvgym.envs.errors import DataError, MissingDependencyError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.records import Record, local_files, records
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.text import clean, counted
from dataenvgym.envs.types import Instance, Progress

Category = Literal[
    "simple",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
]
CATEGORIES: tuple[Category, ...] = get_args(Category)
COLUMNS = ("id", "question", "function")
INSTRUCTION = 'The answer is a JSON list of calls, [{"name": ..., "arguments": {...}}], or [] if no tool fits.'
INSTALL = "pip install --no-deps bfcl-eval"
VAL_SIZE = 300
ANY_CALL = "any call"
"""The gold answer of a relevance instance, which asks for a call and not for which."""

_FILE = re.compile(r"BFCL_v\d+_(?P<category>\w+)\.json(?:l)?")
_NUMBER = re.compile(r"(?:_\d+(?:-\d+)*)+$")
_KEYS, _NOT_READ = "possible_answer", {"unused_datasets", "multi_turn_func_doc", "memory_prereq_conversation"}
# As the released code translates them for models that know JSON schemas.
_JSON_TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "list": "array",
    "any": "string",
    "bool": "boolean",
}


class BfclOptions(BaseModel):
    """The options of the task."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    categories: tuple[Category, ...] = Field(
        tuple(one for one in CATEGORIES if one != "live_relevance"),
        min_length=1,
        description="Which of BFCL's single-turn categories. Those in Java and JavaScript are not known here, as "
        "their answers are texts in those languages. live_relevance asks for any call and has no answer to teach.",
    )


@task(
    "bfcl",
    domain="tool_use",
    summary="BFCL, single-turn function calls, from the package bfcl-eval",
    gold_skills=True,
    answer_tokens=512,
    row_tokens=4096,
    options=BfclOptions,
)
def load(config: TaskConfig) -> Task:
    """BFCL from the installed package `bfcl-eval`, or from `config.path`: a folder in the package's layout, or
    files with the columns id, question, function, ground_truth.

    The package is looked for, never imported: its data files are all that is read. The skill is the category.
    BFCL is a test set and has no other splits: the instances are divided by the seed, so a score here is not a
    score on BFCL as published. Instances with one question (case and spacing aside) are in one split. Test: a
    fifth of the questions (or `config.test_size`); val: `config.val_size` (default 300) of the rest, at most half.

    Left out, with a count in the notes: instances of other categories, and those without a key of right answers,
    unless their category says what is right (irrelevance: no call; relevance: any call).

    Raises:
        DataError: a row that is none of the benchmark's, or a chosen category without instances.
        MissingDependencyError: the package is not installed.
    """
    options = options_of(config, BfclOptions)
    rows, keys = _source(config, options.categories)
    chosen, notes = _chosen(rows, keys, options.categories)
    domain = tool_domain(
        instruction=INSTRUCTION,
        extract=read_answer,
        mark=mark,
        scores=("tool_precision", "tool_recall", "tool_f1", "argument_f1"),
    )
    instances = [_instance(*one) for one in chosen]
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(" ".join(instance.question.split()).casefold(), []).append(instance)
    # One of each question is divided; the others follow it, as no question may be in two splits.
    first = {group[0].id: group for group in groups.values()}
    leaders = [(record, found) for (record, *_), found in zip(chosen, instances, strict=True) if found.id in first]
    by_number = {number: found for number, (_, found) in enumerate(leaders)}
    numbered = [replace(record, number=number) for number, (record, _) in enumerate(leaders)]
    divided = make_task(
        config,
        domain,
        {"all": numbered},
        lambda _, record: by_number[record.number],
        lambda _: "",
        config.val_size or VAL_SIZE,
    )
    train, val, test = (
        tuple(one for leader in split for one in first[leader.id])
        for split in (divided.train, divided.val, divided.test)
    )
    notes += [*_unmeetable(instances), *divided.notes]
    return replace(divided, train=train, val=val, test=test, notes=tuple(notes))


def read_answer(text: str) -> str:
    """The calls in a text; `[]` for a text without any, which is how BFCL tells that a model calls no tool."""
    return write_calls(read_calls(text) or [])


def mark(items: Sequence[Item], answers: Sequence[str], _: Progress | None = None) -> list[Mark]:
    """Whether each answer is right by BFCL's rules. A row's own answer is its key, with those values alone."""
    return [_mark(*pair) for pair in zip(items, answers, strict=True)]


def _mark(item: Item, answer: str) -> Mark:
    calls = read_calls(answer) or []
    tools = [tool for tool in item.extra.get("tools") or [] if isinstance(tool, Mapping)]
    if "keys" in item.extra:
        keys, category = item.extra["keys"], str(item.extra["category"])
    else:
        keys = rules.keys_of(read_calls(item.answer) or [])
        category = "parallel" if keys else "irrelevance"
    found = rules.fault(category, tools, keys, calls)
    return Mark(
        not found, found, {} if category.endswith("_relevance") else rules.partial_scores(tools, keys, calls)
    )


def _source(config: TaskConfig, categories: Sequence[str]) -> tuple[Iterator[Record], dict[str, Any]]:
    """The rows of the questions, and the keys by id that stand in files of their own."""
    files = local_files(_installed(config.name) if config.path is None else Path(config.path))
    wanted = []
    for file in files:
        named = _FILE.fullmatch(file.name)
        if not _NOT_READ & set(file.parts) and (named is None or _category(named["category"]) in categories):
            wanted.append(file)
    answers = [file for file in wanted if file.parent.name == _KEYS]
    keys = {str(r.data.get("id")): r.data.get("ground_truth") for r in records(answers)}
    return records(file for file in wanted if file.parent.name != _KEYS), keys


def _installed(name: str) -> Path:
    package = find_spec("bfcl_eval")
    for folder in (package.submodule_search_locations or ()) if package else ():
        data = Path(folder) / "data"
        if data.is_dir():
            return data
    raise MissingDependencyError(
        f"task {name!r} needs the data files of the package bfcl-eval: {INSTALL}. Or pass local files in the same "
        "schema with the setting task.path."
    )


def _category(name: str) -> str:
    return "simple" if name == "simple_python" else name


def _chosen(
    rows: Iterable[Record], keys: Mapping[str, Any], categories: Sequence[str]
) -> tuple[list[tuple[Record, str, str, Any]], list[str]]:
    """(record, its id, category, key) of the instances, and what is said of those that are left out."""
    chosen: list[tuple[Record, str, str, Any]] = []
    other: Counter[str] = Counter()
    keyless: Counter[str] = Counter()
    seen: dict[str, str] = {}
    for record in rows:
        name = record.text("id", COLUMNS)
        category = _category(str(record.data.get("category") or _NUMBER.sub("", name)))
        if category not in categories:
            other[category] += 1
            continue
        if name in seen:
            raise DataError(
                f"{record.where}: the id {name!r} is also that of {seen[name]}. Expected one row an id."
            )
        seen[name] = record.where
        key = record.data.get("ground_truth") or keys.get(name)
        if key or "relevance" in category:
            chosen.append((record, name, category, key or []))
        else:
            keyless[category] += 1
    found = Counter(category for _, _, category, _ in chosen)
    if missing := [one for one in categories if not found[one] and not keyless[one]]:
        there = ", ".join(sorted({*found, *other})) or "none"
        raise DataError(f"task bfcl: no instances of the category {missing[0]!r}. The data have {there}.")
    notes = []
    if other:
        notes.append(f"{counted(other.total(), 'instance')} of other categories left out: {_listed(other)}")
    if keyless:
        notes.append(f"{counted(keyless.total(), 'instance')} without an answer key left out: {_listed(keyless)}")
    return chosen, notes


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


def _unmeetable(instances: Sequence[Instance]) -> list[str]:
    def fault(one: Instance) -> str:
        calls = read_calls(one.answer) or []
        return rules.fault(one.extra["category"], one.extra["tools"], one.extra["keys"], calls)

    found = [one.id for one in instances if one.answer != ANY_CALL and fault(one)]
    if not found:
        return []
    shown = ", ".join(found[:5])
    return [f"{counted(len(found), 'instance')} of which no answer meets the key by BFCL's rules: {shown}"]


def _instance(record: Record, name: str, category: str, key: Any) -> Instance:
    tools = _tools(record)
    keys = _checked_keys(record, key, category)
    answer = ANY_CALL if category.endswith("_relevance") else write_calls(rules.answer_of(tools, keys))
    return Instance(
        id=f"bfcl/{name}",
        question=_question(record),
        answer=answer,
        skill=category,
        extra={"tools": tools, "keys": keys, "category": category},
    )


def _question(record: Record) -> str:
    """The messages of the one turn as a text: a system's, then the user's; of more, each with its role."""
    turns = record.data.get("question")
    if isinstance(turns, str) and turns.strip():
        return clean(turns).strip()
    messages = turns[0] if isinstance(turns, list) and len(turns) == 1 else None
    if not isinstance(messages, list) or not messages or not all(_is_message(one) for one in messages):
        raise DataError(
            f"{record.where}: expected one turn of messages in column 'question', [[{{'role': ..., "
            f"'content': ...}}]], found {turns!r:.80}."
        )
    # Two requests consist of control characters alone.
    texts = [clean(one["content"]).strip() or ascii(one["content"]) for one in messages]
    roles = [str(one["role"]) for one in messages]
    if sorted(roles) in (["user"], ["system", "user"]):
        return "\n\n".join(texts)
    return "\n".join(f"{role.capitalize()}: {text}" for role, text in zip(roles, texts, strict=True))


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, Mapping) and isinstance(value.get("content"), str) and isinstance(value.get("role"), str)
    )


def _tools(record: Record) -> list[dict[str, Any]]:
    """The tools of a row, their types named as JSON schemas name them.

    Raises:
        DataError: one is no tool, or two have one name.
    """
    value = record.data.get("function")
    if not isinstance(value, list):
        raise DataError(f"{record.where}: expected a list of tools in column 'function', found {value!r:.80}.")
    names: set[str] = set()
    tools = []
    for one in value:
        try:
            tool = plain(one)
        except NotAValueError as error:
            raise DataError(f"{record.where}: column 'function': a tool is {error}.") from None
        if fault := tool_fault(tool):
            raise DataError(f"{record.where}: column 'function': {fault}.")
        if tool["name"] in names:
            raise DataError(f"{record.where}: column 'function': two tools have the name {tool['name']!r}.")
        names.add(tool["name"])
        tools.append({**tool, "parameters": _json_schema(tool.get("parameters") or {})})
    return tools


def _json_schema(schema: Any) -> Any:
    """A schema with the names of types that JSON schemas know, at any depth."""
    if isinstance(schema, list):
        return [_json_schema(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: _JSON_TYPES.get(one, one) if key == "type" and isinstance(one, str) else _json_schema(one)
        for key, one in schema.items()
    }


def _checked_keys(record: Record, key: Any, category: str) -> list[rules.Key]:
    sound = isinstance(key, list) and all(
        isinstance(one, Mapping)
        and len(one) == 1
        and all(
            isinstance(args, Mapping) and all(isinstance(v, list) for v in args.values()) for args in one.values()
        )
        for one in key
    )
    if not sound or ("relevance" in category) == bool(key):
        raise DataError(
            f"{record.where}: expected a key, [{{'tool': {{'argument': [values]}}}}], or none for relevance and "
            f"irrelevance, found {key!r:.80}."
        )
    return [plain(one) for one in key]
