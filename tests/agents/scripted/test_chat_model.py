"""The scripted model as a chat model: deterministic, called in each usual way, erring on request."""

import asyncio
import json
from collections import Counter

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from scripted_asking import SAMPLES, ask, error, items, request, tool_schema

from dataenvgym.agents.llm.schemas import LabelItem
from dataenvgym.agents.scripted.chat_model import ScriptedChatModel
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SKILLS, problem

# --- determinism and the chat model's interface ---


def test_fifty_parallel_calls_agree_with_one() -> None:
    tool, messages = request("generate_rows", SAMPLES["generate_rows"])
    bound = ScriptedChatModel(wrong_answer=0.3, duplicate=0.3, drop=0.2).bind_tools(
        [tool_schema(tool)], tool_choice=tool
    )

    async def calls() -> list[AIMessage]:
        return await asyncio.gather(*(bound.ainvoke(messages) for _ in range(50)))

    replies = asyncio.run(calls())
    assert {json.dumps(reply.tool_calls) for reply in replies} == {json.dumps(bound.invoke(messages).tool_calls)}


def test_a_seed_in_the_call_gives_another_sample() -> None:
    tool, messages = request("generate_rows", SAMPLES["generate_rows"])
    bound = ScriptedChatModel().bind_tools([tool_schema(tool)], tool_choice=tool)
    first, again, other = (bound.invoke(messages, seed=seed) for seed in (1, 1, 2))
    assert items(first) == items(again) != items(other)


def test_the_chosen_tool_is_called_in_each_way_to_name_it() -> None:
    tool, messages = request("label_skills", SAMPLES["label_skills"])
    tools = [tool_schema("submit_rows"), tool_schema(tool)]
    for choice in (tool, {"type": "function", "function": {"name": tool}}):
        reply = ScriptedChatModel().bind_tools(tools, tool_choice=choice).invoke(messages)
        assert reply.tool_calls[0]["name"] == tool
    assert ScriptedChatModel().bind_tools(tools).invoke(messages).tool_calls[0]["name"] == "submit_rows"


def test_structured_output_by_a_pydantic_class() -> None:
    class submit_labels(BaseModel):  # noqa: N801  the tool's name
        """Hand in the labels."""

        items: list[LabelItem]

    _, messages = request("label_skills", SAMPLES["label_skills"])
    found = ScriptedChatModel().with_structured_output(submit_labels).invoke(messages)
    assert isinstance(found, submit_labels)
    assert [item.skill for item in found.items] == list(SKILLS)


def test_without_a_tool_it_says_so() -> None:
    reply = ScriptedChatModel().invoke("Hello")
    assert reply.tool_calls == [] and "nothing to say without a tool" in reply.text
    assert reply.usage_metadata is not None


# --- errors on request ---


def test_wrong_answers_leave_question_and_solution() -> None:
    right, wrong = (items(ask("generate_rows", ScriptedChatModel(wrong_answer=rate), count=30)) for rate in (0, 1))
    for a, b in zip(right, wrong, strict=True):
        assert (a["question"], a["solution"]) == (b["question"], b["solution"])
        assert a["answer"] != b["answer"]


def test_an_error_rate_is_met_roughly() -> None:
    right, some = (
        items(ask("generate_rows", ScriptedChatModel(wrong_answer=rate), count=200)) for rate in (0, 0.25)
    )
    assert 25 <= sum(a != b for a, b in zip(right, some, strict=True)) <= 80


def test_duplicates_repeat_an_earlier_row() -> None:
    rows = items(ask("generate_rows", ScriptedChatModel(duplicate=0.5), count=40))
    assert len(rows) == 40
    assert 1 < len(Counter(row["question"] for row in rows)) < 40


def test_copies_are_val_problems_shown() -> None:
    errors = [error("double", index, text="I do not know.") for index in range(3)]
    shown = {**SAMPLES["generate_rows"], "errors": errors, "count": 40}
    rows = items(ask("generate_rows", ScriptedChatModel(copied=0.5), **shown))
    copied = [row for row in rows if row["question"] in {e["question"] for e in errors}]
    assert 10 <= len(copied) <= 30 and len(rows) == 40
    assert {row["answer"] for row in copied} <= {e["gold"] for e in errors}
    shown["errors"] = []
    assert len(items(ask("generate_rows", ScriptedChatModel(copied=1), **shown))) == 40


def test_solutions_are_right_but_for_the_asked_share() -> None:
    problems = [{"id": f"p{n}", "question": problem("chain", 5, n).question} for n in range(60)]
    right, some = (
        {item["id"]: item["answer"] for item in items(ask("solve", model, problems=problems))}
        for model in (ScriptedChatModel(), ScriptedChatModel(wrong_solution=0.3))
    )
    assert right == {f"p{n}": problem("chain", 5, n).answer for n in range(60)}
    assert 6 <= sum(right[name] != some[name] for name in right) <= 36


def test_drop_returns_fewer_items_of_any_kind() -> None:
    assert 0 < len(items(ask("generate_rows", ScriptedChatModel(drop=0.5), count=40))) < 40
    assert len(items(ask("label_skills", ScriptedChatModel(drop=1)))) == 0


@pytest.mark.parametrize("name", SAMPLES)
def test_malformed_replies_are_cut_json_as_a_bad_call_or_as_text(name: str) -> None:
    kinds = set()
    for seed in range(12):
        whole, reply = (ask(name, ScriptedChatModel(seed=seed, malformed=rate)) for rate in (0, 1))
        assert reply.tool_calls == []
        cut = reply.invalid_tool_calls[0]["args"] if reply.invalid_tool_calls else reply.text
        assert cut
        assert json.dumps(whole.tool_calls[0]["args"]).startswith(cut)
        with pytest.raises(json.JSONDecodeError):
            json.loads(cut)
        assert reply.response_metadata["finish_reason"] == "length"
        assert reply.usage_metadata is not None
        kinds.add(bool(reply.invalid_tool_calls))
    assert kinds == {True, False}


def test_the_delay_is_kept_in_both_ways_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("dataenvgym.agents.scripted.chat_model.time.sleep", waited.append)
    monkeypatch.setattr("dataenvgym.agents.scripted.chat_model.asyncio.sleep", sleep)
    model = ScriptedChatModel(delay_seconds=7)
    model.invoke("Hello")
    asyncio.run(model.ainvoke("Hello"))
    assert waited == [7, 7]


def test_a_rate_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="drop"):
        ScriptedChatModel(drop=1.5)
