"""The tool-use domain: a request, the tools that stand beside it, and a list of calls. Nothing is ever called."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from dataenvgym.envs.domains.base import DOMAINS, Domain, DomainSpec, Item, Mark
from dataenvgym.envs.domains.tool_use.calls import Call, read_calls, write_calls
from dataenvgym.envs.domains.tool_use.plans import SCORES, difference, partial_scores, plan_key, prepared
from dataenvgym.envs.domains.tool_use.schemas import Tool, tool_fault
from dataenvgym.envs.domains.tool_use.values import NotAValueError, plain
from dataenvgym.envs.domains.tool_use.vetting import row_fault
from dataenvgym.envs.text import clean
from dataenvgym.envs.tool_text import with_tools
from dataenvgym.envs.types import Progress, Row

INSTRUCTION = (
    'The answer is a JSON list of calls, [{"name": ..., "arguments": {...}}], or [] if no tool fits. In an '
    'argument, "$1" is the result of the first call.'
)
LONGEST_ANSWER = 8_000
"""Characters of a row's answer."""
MOST_TOOLS = 40
"""Tools that a row may offer."""


def read_answer(text: str) -> str | None:
    """The calls of a student's text as one line of JSON; None where it neither calls a tool nor says `[]`."""
    calls = read_calls(text)
    return None if calls is None else write_calls(calls)


def _text(shortest: int, longest: int) -> StringConstraints:
    return StringConstraints(strip_whitespace=True, min_length=shortest, max_length=longest)


def _as_tool(value: Any) -> Any:
    """A tool in the shapes that models write: its name alone, or within `function` as in OpenAI's API."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping) and "name" not in value:
        return value["function"]
    return value


def _as_answer(value: Any) -> str:
    """An answer as one line of calls, from text or JSON."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the answer is no JSON value: {error}"[:200]) from None
    if len(text) > LONGEST_ANSWER:
        raise ValueError(f"the answer has {len(text):,} characters, more than {LONGEST_ANSWER:,}")
    answer = read_answer(clean(text))
    if answer is None:
        raise ValueError('no calls can be read in the answer; expected [{"name": ..., "arguments": {...}}] or []')
    return answer


class ToolItem(BaseModel):
    """One tool as the teacher's model writes it."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(description="Its name. The name alone is enough for a tool of the benchmark.")
    description: str = Field("", description="What it does, in a few words.")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description='JSON schema of its arguments: {"type": "object", "properties": {...}, "required": [...]}.',
    )

    @model_validator(mode="before")
    @classmethod
    def _sound(cls, value: Any) -> Any:
        tool = _as_tool(value)
        if isinstance(tool, Mapping):
            try:
                tool = plain(dict(tool))
            except NotAValueError as error:
                raise ValueError(f"a tool is {error}") from None
            tool = {key: one for key, one in tool.items() if one is not None}
        if fault := tool_fault(tool):
            raise ValueError(fault)
        return tool


class ToolRow(BaseModel):
    """One training row as the teacher's model writes it. The descriptions are part of what it is shown."""

    model_config = ConfigDict(extra="ignore")
    code_fields: ClassVar[frozenset[str]] = frozenset({"tools", "answer"})
    """Where a backslash is never the beginning of a LaTeX command."""

    question: Annotated[str, _text(1, 4_000)] = Field(
        description="The user's request, with every value that the calls need."
    )
    tools: list[ToolItem] = Field(
        min_length=1, max_length=MOST_TOOLS, description="The tools that the student may choose from."
    )
    solution: Annotated[str, _text(0, 2_000)] = Field(
        "", description="Empty, unless the solutions shown have words."
    )
    answer: Annotated[str, BeforeValidator(_as_answer)] = Field(
        description='The calls in order, as JSON: [{"name": ..., "arguments": {...}}]; [] if no tool fits. '
        '"$1" as an argument is the result of the first call.'
    )


DOMAINS["tool_use"] = DomainSpec(
    name="tool_use",
    summary="requests answered by calls of tools, compared without calling any",
    package="dataenvgym.envs.domains.tool_use",
    row_model=ToolRow,
    instruction=INSTRUCTION,
    shown={"tools": ['{"name": "get_weather"}']},
    shown_unsolved={"tools": ['{"name": "get_weather"}']},
)


def tools_of(item: Item, catalogue: Mapping[str, Tool] | None = None) -> list[Tool]:
    """The tools that stand beside a request: `extra["tools"]`, names of a catalogue's tools resolved.

    What is no tool, as in a row of another origin, is left out; `row_fault` says why.
    """
    found = item.extra.get("tools")
    return [tool for tool in _resolved(found, catalogue or {}) if not tool_fault(tool)]


def _resolved(tools: Any, catalogue: Mapping[str, Tool]) -> list[Any]:
    resolved: list[Any] = []
    for one in tools if isinstance(tools, list | tuple) else []:
        try:
            tool = plain(_as_tool(one))
        except NotAValueError as error:
            tool = str(error)
        if isinstance(tool, dict):
            known = None if tool.get("parameters") else catalogue.get(str(tool.get("name")))
            tool = {"name": "", "description": "", "parameters": {}, **tool} if known is None else known
        resolved.append(tool)
    return resolved


def tool_domain(
    catalogue: Mapping[str, Tool] | None = None,
    *,
    instruction: str = INSTRUCTION,
    prompt: Callable[[Item], str] | None = None,
    render_answer: Callable[[str, str], str] = lambda solution, answer: answer,
    extract: Callable[[str], str | None] = read_answer,
    mark: Callable[[Sequence[Item], Sequence[str], Progress | None], list[Mark]] | None = None,
    scores: tuple[str, ...] = SCORES,
    identity: Callable[[str], str | None] | None = None,
) -> Domain:
    """The tool-use domain of a task. Answers are kept as calls in JSON, whatever form the student writes.

    Args:
        catalogue: the task's tools by name, where it has a fixed set; rows may then name them alone.
        instruction, render_answer, extract, identity: see `Domain`.
        prompt: the user message; None: the tools, then the request.
        mark: whether answers are right; None: whether they are the gold plan, with `scores` as partial scores.
        scores: the names of the partial scores that `mark` gives.
    """

    def form(item: Item) -> str:
        return with_tools(tools_of(item, catalogue), item.question)

    def marks(items: Sequence[Item], answers: Sequence[str], _: Progress | None) -> list[Mark]:
        return [mark_plan(*pair, catalogue) for pair in zip(items, answers, strict=True)]

    def vet(rows: Sequence[Row], _: Progress | None) -> list[str]:
        return [row_fault(row, _resolved(row.extra.get("tools"), catalogue or {}), catalogue) for row in rows]

    def shown(item: Item) -> dict[str, Any]:
        return {"tools": [json.dumps(tool, ensure_ascii=False) for tool in tools_of(item, catalogue)]}

    return Domain(
        name="tool_use",
        instruction=instruction,
        form=prompt or form,
        render_answer=render_answer,
        extract=extract,
        equal=same_plan,
        row_model=ToolRow,
        mark=mark or marks,
        scores=scores,
        vet=vet,
        identity=identity,
        show=shown,
        show_unsolved=shown,
        clean_answer=lambda answer: read_answer(answer) or answer,
    )


def same_plan(gold: str, other: str) -> bool:
    """Whether two answers are the same plan, without knowing the tools."""
    return plan_key(_calls(gold)) == plan_key(_calls(other))


def mark_plan(item: Item, answer: str, catalogue: Mapping[str, Tool] | None = None) -> Mark:
    """Whether an answer is the gold plan, why not, and its partial scores; see `plans`."""
    tools = {str(tool["name"]): tool for tool in tools_of(item, catalogue)}
    gold, other = (prepared(_calls(text), tools) for text in (item.answer, answer))
    fault = difference(gold, other)
    return Mark(not fault, fault, partial_scores(gold, other))


def _calls(answer: str) -> list[Call]:
    return read_calls(answer) or []
