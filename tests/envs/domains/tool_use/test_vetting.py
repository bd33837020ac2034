"""What the checks of the tool-use domain say of rows that a teacher wrote; nothing is ever called."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dataenvgym.envs.domains.tool_use.domain import ToolRow, tool_domain
from dataenvgym.envs.domains.tool_use.schemas import arguments_fault, tool_fault
from dataenvgym.envs.types import Provenance, Row

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


def tool(name: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": "", "parameters": parameters}


FIND = tool("find_file", {"name": TEXT})
SHARE = tool("share_file", {"path": TEXT, "to": TEXT}, {"copies": WHOLE})
BOOK = tool(
    "book", {"date": TEXT, "guests": WHOLE}, {"time": TEXT, "mood": {"type": "string", "enum": ["loud", "calm"]}}
)
TOOLS = [FIND, SHARE, BOOK]
REQUEST = "Find the file budget and share it with Ana."
SOUND: list[dict[str, Any]] = [
    {"name": "find_file", "arguments": {"name": "budget"}},
    {"name": "share_file", "arguments": {"path": "$1", "to": "Ana"}},
]


def row(answer: Any, question: str = REQUEST, tools: Any = TOOLS) -> Row:
    made = Provenance(iteration=1, request="r", model="m", prompt="p", prompt_hash="0")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return Row(
        id="x", question=question, solution="", answer=text, skill="s", extra={"tools": tools}, provenance=made
    )


def reason(made: Row, catalogue: dict[str, Any] | None = None) -> str:
    vet = tool_domain(catalogue).vet
    assert vet is not None
    return vet([made], None)[0]


def share(**arguments: Any) -> list[dict[str, Any]]:
    return [SOUND[0], {"name": "share_file", "arguments": {**SOUND[1]["arguments"], **arguments}}]


def book(**arguments: Any) -> list[dict[str, Any]]:
    return [{"name": "book", "arguments": arguments}]


DAMAGED = {
    "no calls": (row("I would share it."), "no list of calls"),
    "an invented tool": (
        row([{"name": "find_files", "arguments": {}}]),
        "none of the tools offered. Did you mean 'find_file'?",
    ),
    "a required argument is missing": (row([{"name": "find_file", "arguments": {}}]), "needs the argument 'name'"),
    "an argument that it has not": (row(share(cc="Ana")), "has no argument 'cc'"),
    "a wrong type": (row(share(copies="two")), "not of the type integer"),
    "true for a number": (row(share(copies=True)), "not of the type integer"),
    "a value that is not allowed": (
        row(book(date="2025-05-01", guests=2, mood="odd"), "A table for 2 on 1 May 2025."),
        "none of",
    ),
    "a reference forwards": (row(share(path="$3")), "$3 is not the result of an earlier call"),
    "a reference to itself": (row(share(path="$2")), "not the result of an earlier call"),
    "a reference to nothing": (row(share(path="$0")), "not the result of an earlier call"),
    "a reference within a text": (row(share(path="the file $2")), "not the result of an earlier call"),
    "a text that nobody mentioned": (row(share(to="Ben")), 'does not mention "Ben"'),
    "a number that nobody mentioned": (row(share(copies=17)), "does not mention 17"),
    "a date that nobody mentioned": (
        row(book(date="2025-05-03", guests=2), "A table for 2 on 1 May 2025."),
        "does not mention",
    ),
    "no tools": (row(SOUND, tools=[]), "offers no tools"),
    "tools of another kind": (row(SOUND, tools="find_file"), "offers no tools"),
    "a tool without a name": (row(SOUND, tools=[{"description": "x"}]), "no name"),
    "two of one name": (row(SOUND, tools=[FIND, SHARE, FIND]), "two of its tools"),
    "a schema that is none": (row(SOUND, tools=[{**FIND, "parameters": [1]}]), "must be an object"),
    "a type that is none": (row(SOUND, tools=[tool("find_file", {"name": {"type": "txt"}})]), "'txt' is no type"),
    "too many calls": (row([SOUND[0]] * 21), "21 calls"),
    "nested 1,000 deep": (
        row('[{"name": "find_file", "arguments": {"name": ' + "[" * 1000 + "]" * 1000 + "}}]"),
        "no list",
    ),
    "NaN": (row('[{"name": "share_file", "arguments": {"path": "a", "to": "Ana", "copies": NaN}}]'), "integer"),
    "a huge whole number": (
        row(
            '[{"name": "share_file", "arguments": {"path": "budget", "to": "Ana", "copies": ' + "9" * 9000 + "}}]"
        ),
        "integer",
    ),
    "a megabyte": (row(share(to="x" * 1_000_000)), ""),
    "a surrogate": (row('[{"name": "find_file", "arguments": {"name": "\ud800"}}]'), "does not mention"),
    "code": (row("__import__('os').remove('/etc/passwd')"), ""),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_row_is_rejected_with_its_reason(case: str) -> None:
    made, expected = DAMAGED[case]
    found = reason(made)
    assert found and expected in found
    assert len(found) <= 400 and "\n" not in found


@pytest.mark.parametrize(
    ("answer", "question"),
    [
        (SOUND, REQUEST),
        (share(copies=2), "Find the file budget and share two copies of it with Ana."),
        (share(copies=3), "Share the file budget with ana, 3 copies."),
        ("share_file(find_file('budget'), 'Ana')", REQUEST),
        ([], "How are you?"),
        (book(date="2025-05-01", guests=12), "Twelve of us come on 1 May 2025."),
        (book(date="2025-05-01", guests=2), "Two of us, May 1st."),
        (book(date="2025-05-01", guests=2), "A table for two on 2025/05/01."),
        (book(date="2025-05-01", guests=2), "A table for 2 tomorrow."),
        (book(date="2025-05-01", guests=2, time="19:30"), "A table for 2 on 1 May 2025 at half past 7 pm."),
        (book(date="2025-05-01", guests=2, mood="calm"), "A quiet table for 2 on 1 May 2025."),
        (share(to="$5"), "Share the file budget with the account $5."),
    ],
)
def test_a_sound_row_is_accepted(answer: Any, question: str) -> None:
    assert reason(row(answer, question)) == ""


def test_a_catalogue_is_all_that_there_is_and_its_names_stand_for_its_tools() -> None:
    catalogue = {one["name"]: one for one in TOOLS}
    assert reason(row(SOUND, tools=["find_file", {"name": "share_file"}]), catalogue) == ""
    assert "Did you mean 'find_file'" in reason(row(SOUND, tools=["find_fil", "share_file"]), catalogue)
    changed = tool("find_file", {"name": TEXT, "folder": TEXT})
    assert "other parameters" in reason(row(SOUND, tools=[changed, SHARE]), catalogue)
    prompt = tool_domain(catalogue).prompt(row(SOUND, tools=["find_file", "share_file"]))
    assert prompt == tool_domain().prompt(row(SOUND, tools=[FIND, SHARE]))


# --- what the teacher's model writes ---


def written(**fields: Any) -> ToolRow:
    return ToolRow.model_validate({"question": REQUEST, "tools": TOOLS, "answer": SOUND, **fields})


@pytest.mark.parametrize(
    "answer",
    [
        SOUND,
        json.dumps(SOUND),
        f"```json\n{json.dumps(SOUND, indent=2)}\n```",
        "\n".join(f"<tool_call>{json.dumps(call)}</tool_call>" for call in SOUND),
        [{"function": {"name": call["name"], "arguments": json.dumps(call["arguments"])}} for call in SOUND],
    ],
)
def test_an_answer_is_kept_in_one_form(answer: Any) -> None:
    assert written(answer=answer).answer == json.dumps(SOUND)


def test_tools_are_read_in_the_shapes_that_models_write() -> None:
    wrapped = [{"type": "function", "function": FIND}, "share_file", {"name": "book", "parameters": None}]
    found = written(tools=wrapped).model_dump()["tools"]
    assert found[0] == FIND
    assert [one["name"] for one in found] == ["find_file", "share_file", "book"]


DEEP: Any = "x"
for _ in range(1000):
    DEEP = {"a": DEEP}
REFUSED = {
    "no calls": ({"answer": "none of that"}, "no calls can be read"),
    "an answer of a megabyte": ({"answer": json.dumps(share(to="x" * 1_000_000))}, "characters, more than"),
    "an answer 1,000 deep": ({"answer": [{"name": "find_file", "arguments": DEEP}]}, "answer"),
    "a set as the answer": ({"answer": {1, 2}}, "no JSON value"),
    "no tools": ({"tools": []}, "tools"),
    "a tool without a name": ({"tools": [{"description": "x"}]}, "no name"),
    "a name that is none": ({"tools": ["find file!"]}, "no name of a tool"),
    "a number as a tool": ({"tools": [5]}, "must be an object"),
    "a schema that is none": ({"tools": [{**FIND, "parameters": "x"}]}, "must be an object"),
    "a required argument that is not there": (
        {"tools": [{"name": "f", "parameters": {"properties": {}, "required": ["a"]}}]},
        "requires 'a'",
    ),
    "a tool 1,000 deep": ({"tools": [{"name": "f", "parameters": DEEP}]}, "deep"),
    "a tool of a megabyte": ({"tools": [{**FIND, "description": "x" * 1_000_000}]}, "longer than"),
    "no question": ({"question": " "}, "question"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_row_is_refused_with_its_reason(case: str) -> None:
    fields, expected = REFUSED[case]
    with pytest.raises(ValidationError) as error:
        written(**fields)
    assert expected in "; ".join(f"{e['loc']}: {e['msg']}" for e in error.value.errors())


def test_the_teacher_is_told_what_every_field_holds() -> None:
    schema = ToolRow.model_json_schema()
    assert all("description" in field for field in schema["properties"].values())
    assert schema["required"] == ["question", "tools", "answer"]


def test_a_prompt_is_made_of_any_row_whatever_its_tools_are() -> None:
    for tools in (None, 5, "x", [None], [{"name": float("nan")}], [{**FIND, "extra": float("nan")}], [DEEP]):
        assert tool_domain().prompt(row(SOUND, tools=tools)).endswith(REQUEST)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
SCHEMA_WORDS = st.sampled_from(
    ["type", "properties", "required", "enum", "items", "name", "parameters", "default"]
)
TOOL_LIKE = st.recursive(
    st.sampled_from(["string", "integer", "array", "object", "f", ""]) | st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(SCHEMA_WORDS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(JSON | TOOL_LIKE, JSON | st.text())
def test_the_checks_never_raise(tools: Any, answer: Any) -> None:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    made = row(text, tools=tools)
    domain = tool_domain({"find_file": FIND})
    assert isinstance(reason(made), str)
    assert isinstance(domain.prompt(made), str)
    assert isinstance(domain.score([made], [text])[0].correct, bool)
    assert isinstance(domain.show(made)["tools"], list)
    with contextlib.suppress(ValidationError):
        ToolRow.model_validate({"question": "q", "tools": tools, "answer": answer})


@settings(max_examples=200, deadline=None)
@given(TOOL_LIKE, JSON)
def test_a_tool_without_a_fault_can_be_asked_for_arguments(schema: Any, value: Any) -> None:
    asked = {"name": "f", "description": "", "parameters": schema}
    if not tool_fault(asked):
        assert isinstance(arguments_fault(asked, value if isinstance(value, dict) else {"x": value}), str)
