import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from dataenvgym.agents.llm.reply import raw_items
from dataenvgym.agents.llm.salvage import salvage

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# "items" as a nested key and braces inside strings are what a careless scan trips over.
KEYS = st.text(max_size=5) | st.just("items")
OBJECTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=5)


@given(data=st.data(), objects=OBJECTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_exactly_the_objects_closed_before_the_cut(
    data: st.DataObject, objects: list[dict[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    in_text = '{"name": "submit_rows", "arguments": {\n "items": ['
    head = data.draw(st.sampled_from(["[", '{"items": [', '{"note": "a [{ b", "items":\n [', in_text]))
    text, ends = head, []
    for i, value in enumerate(objects):
        text += (", " if i else "") + json.dumps(value, ensure_ascii=ascii_only, indent=indent)
        ends.append(len(text))
    text += "]" if head == "[" else "]}"
    cut = data.draw(st.integers(0, len(text)))

    found = salvage(text[:cut])

    closed = [value for value, end in zip(objects, ends, strict=True) if end <= cut]
    assert found.objects == closed
    if cut == len(text):
        assert found.complete and found.rest == ""


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(isinstance(value, dict) for value in salvage(text).objects)


@pytest.mark.parametrize(
    ("text", "objects", "complete"),
    [
        ('Here you are:\n```json\n[{"a": 1}]\n```\nEnjoy!', [{"a": 1}], True),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}], True),
        ('{"a": 1}\n{"a": 2', [{"a": 1}], False),
        ('see [3]: {"items": [{"a": 1}, {"a": 2}]}', [{"a": 1}, {"a": 2}], True),
        ('[{"a": 1}, {"a": 2,}, {"a": 3}]', [{"a": 1}, {"a": 2}, {"a": 3}], True),
        ('[{"a": 1}, {"a": 2 + 3}, {"a": 3}]', [{"a": 1}, {"a": 3}], False),
        ('[{"a": 1}, 34', [{"a": 1}], False),
        ("no JSON here", [], False),
        ("", [], False),
        ('{"items": []}', [], True),
        ("[" * 100_000, [], False),
        ('{"a":' * 100_000, [], False),
        ('{"arguments":' * 100_000, [], False),
    ],
)
def test_forms_of_a_reply(text: str, objects: list[dict[str, Any]], complete: bool) -> None:
    found = salvage(text)
    assert (found.objects, found.complete) == (objects, complete)


def test_parsed_arguments_of_a_cut_reply_lose_the_item_that_may_have_been_repaired() -> None:
    items = [{"q": "one"}, {"q": "cut he"}]
    call = {"name": "t", "args": {"items": items}, "id": "1"}
    cut = AIMessage("", tool_calls=[call], response_metadata={"finish_reason": "length"})
    whole = AIMessage("", tool_calls=[call], response_metadata={"finish_reason": "tool_calls"})
    assert raw_items(cut).values == [{"q": "one"}]
    assert "cut" in raw_items(cut).failures[0].reason
    assert raw_items(whole).values == items
    assert raw_items(whole).failures == []


@pytest.mark.parametrize("reason", ["max_tokens", "MAX_TOKENS"])
def test_other_providers_names_for_a_cut(reason: str) -> None:
    call = {"name": "t", "args": {"items": [{"q": "one"}]}, "id": "1"}
    found = raw_items(AIMessage("", tool_calls=[call], response_metadata={"stop_reason": reason}))
    assert found.values == [] and len(found.failures) == 1


def test_raw_arguments_are_believed_before_repaired_ones() -> None:
    raw = {"id": "1", "function": {"name": "t", "arguments": '{"items": [{"q": "one"}, {"q": "cut he'}}
    repaired = {"name": "t", "args": {"items": [{"q": "one"}, {"q": "cut he"}]}, "id": "1"}
    message = AIMessage("", tool_calls=[repaired], additional_kwargs={"tool_calls": [raw]})
    assert raw_items(message).values == [{"q": "one"}]


@pytest.mark.parametrize("args", [{"items": [{"q": 1}]}, {"items": '[{"q": 1}]'}, {"items": {"q": 1}}, {"q": 1}])
def test_shapes_that_models_put_arguments_in(args: dict[str, Any]) -> None:
    message = AIMessage("", tool_calls=[{"name": "t", "args": args, "id": "1"}])
    assert raw_items(message).values == [{"q": 1}]
