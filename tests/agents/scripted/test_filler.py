"""Tools that the scripted model does not know: their schema is filled, so that an own graph runs offline."""

from random import Random
from typing import Annotated, Any, Literal

import pytest
from fake_gateway import scripted_client
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel, Field

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.llm.items import tool_schema
from dataenvgym.agents.llm.loops import run_now
from dataenvgym.agents.prompts import Prompt
from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.agents.scripted.filler import fill

PROMPT = "Judge.\nSkill: addition\n[val/1] Q: What is 1 + 2?\n[val/2] Q: What is 3 + 4?\nSkill: chain\n"


class Inner(BaseModel):
    word: str = Field(min_length=9, max_length=12)
    choice: Literal["keep", "drop"]


class Judgement(BaseModel):
    id: str
    skill: str
    score: float = Field(ge=0, le=1)
    rank: int = Field(gt=2, lt=5)
    sure: bool
    note: str | None = None
    examples: list[str] = Field(min_length=1)
    parts: Annotated[list[Inner], Field(min_length=2, max_length=2)]
    weights: dict[str, float] = Field(default_factory=dict)


def test_an_own_schema_is_filled_with_what_the_prompt_shows() -> None:
    client = scripted_client(TeacherConfig())
    prompt = Prompt("math/judge", "You judge.", PROMPT, "submit_judgements", "0" * 16)
    found = run_now(client.items(prompt, Judgement))
    assert [item.id for item in found.valid] == ["val/1", "val/2"] and not found.failures
    assert [item.skill for item in found.valid] == ["addition", "chain"]
    assert all(set(item.examples) <= {"val/1", "val/2"} for item in found.valid)
    again = run_now(scripted_client(TeacherConfig()).items(prompt, Judgement))
    assert again.valid == found.valid, "the same on each call"


def test_without_ids_there_are_a_few_entries() -> None:
    class Idea(BaseModel):
        title: str
        why: str

    parameters = tool_schema("submit_ideas", Idea)["function"]["parameters"]
    items = fill(parameters, "Have ideas.", Random(0))["items"]
    assert items == [{"title": f"title {n}", "why": f"why {n}"} for n in (1, 2, 3)]


def test_an_agent_calls_each_of_its_tools_once_and_ends() -> None:
    def look(skill: str) -> str:
        """Look at the errors of a skill."""
        return skill

    def submit(rows: list[str]) -> str:
        """Hand in rows."""
        return "ok"

    model = ScriptedChatModel().bind_tools([look, submit])
    messages: list[Any] = [HumanMessage(PROMPT)]
    called = []
    while (reply := model.invoke(messages)).tool_calls:
        (call,) = reply.tool_calls
        called.append((call["name"], call["args"]))
        messages += [reply, ToolMessage("ok", tool_call_id=call["id"])]
    assert [name for name, _ in called] == ["look", "submit"]
    assert called[0][1] == {"skill": "addition"} and len(called[1][1]["rows"]) == 3
    assert reply.text


kinds = st.sampled_from(
    [str, int, float, bool, list[str], list[int], dict[str, int], str | None, Literal["a", "b"], Inner]
)


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), kinds, min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_whatever_the_fields_the_filler_is_valid(fields: dict[str, Any], seed: int) -> None:
    from pydantic import create_model

    model = create_model("Own", **{f"f_{name}": (kind, ...) for name, kind in fields.items()})
    parameters = tool_schema.__wrapped__("submit", model)["function"]["parameters"]
    for item in fill(parameters, PROMPT, Random(seed))["items"]:
        model.model_validate(item)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"type": "object"},
        {"properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": ["null", "integer"]}}},
    ],
)
def test_loose_schemas_are_filled_too(parameters: dict[str, Any]) -> None:
    assert isinstance(fill(parameters, "", Random(0)), dict)
