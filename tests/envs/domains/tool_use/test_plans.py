"""When an answer is the gold plan of a request, and what its partial scores are."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.tool_use.calls import Call, write_calls
from dataenvgym.envs.domains.tool_use.domain import mark_plan, same_plan, tool_domain
from dataenvgym.envs.domains.tool_use.plans import plan_key
from dataenvgym.envs.types import Instance

TEXT, NUMBER = {"type": "string"}, {"type": "number"}


def tool(name: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": "", "parameters": parameters}


TOOLS = [
    tool("find", {"name": TEXT}),
    tool("send", {"to": TEXT, "text": TEXT}, {"copies": {"type": "integer", "default": 1}}),
    tool("weather", {"city": TEXT}),
    tool("move", {"by": NUMBER}),
]


def calls(*each: tuple[str, dict[str, Any]]) -> str:
    return write_calls([Call(name, arguments) for name, arguments in each])


def marked(gold: str, answer: str) -> Any:
    return mark_plan(Instance(id="i", question="Q", answer=gold, extra={"tools": TOOLS}), answer)


FIND, WEATHER = ("find", {"name": "a"}), ("weather", {"city": "Oslo"})
SENT = ("send", {"to": "Ana", "text": "$1"})
CHAIN = calls(FIND, SENT)

SAME = {
    "the same": (CHAIN, CHAIN),
    "another order of calls that do not depend on each other": (calls(FIND, WEATHER), calls(WEATHER, FIND)),
    "another order, the reference following its call": (
        calls(FIND, WEATHER, SENT),
        calls(WEATHER, FIND, ("send", {"to": "Ana", "text": "$2"})),
    ),
    "another order of arguments": (CHAIN, calls(FIND, ("send", {"text": "$1", "to": "Ana"}))),
    "1.0 for 1": (calls(("move", {"by": 1})), calls(("move", {"by": 1.0}))),
    "a default written out": (CHAIN, calls(FIND, ("send", {"to": "Ana", "text": "$1", "copies": 1}))),
    "white space at the ends of a text": (calls(WEATHER), calls(("weather", {"city": " Oslo "}))),
    "an argument by its place": (calls(WEATHER), "weather('Oslo')"),
    "a nested call for a reference": (CHAIN, "send('Ana', find('a'))"),
    "no call": ("[]", "[]"),
}
OTHER = {
    "another value": (calls(WEATHER), calls(("weather", {"city": "Rome"})), "wrong value"),
    "another tool": (calls(WEATHER), calls(FIND), "a call too many: find"),
    "a tool that is not there": (calls(WEATHER), calls(("wether", {"city": "Oslo"})), "wether"),
    "a call too few": (CHAIN, calls(FIND), "1 of 2 calls"),
    "a call twice": (calls(WEATHER), calls(WEATHER, WEATHER), "a call too many: weather"),
    "an argument too few": (CHAIN, calls(FIND, ("send", {"to": "Ana"})), "send has other arguments"),
    "an argument too many": (
        calls(WEATHER),
        calls(("weather", {"city": "Oslo", "day": "now"})),
        "other arguments",
    ),
    "an optional one that was not asked for": (
        CHAIN,
        calls(FIND, ("send", {"to": "Ana", "text": "$1", "copies": 2})),
        "send has other arguments",
    ),
    "text for a number": (calls(("move", {"by": 1})), calls(("move", {"by": "1"})), "wrong value"),
    "true for 1": (calls(("move", {"by": 1})), calls(("move", {"by": True})), "wrong value"),
    "the value in place of the reference": (
        CHAIN,
        calls(FIND, ("send", {"to": "Ana", "text": "a"})),
        "wrong value",
    ),
    "a call where none fits": ("[]", calls(WEATHER), "where none fits"),
    "none where one fits": (calls(WEATHER), "[]", "calls no tool"),
    "the result of another call": (
        calls(FIND, WEATHER, SENT),
        calls(FIND, WEATHER, ("send", {"to": "Ana", "text": "$2"})),
        "",
    ),
    "a reference to a later call": (CHAIN, calls(("send", {"to": "Ana", "text": "$2"}), FIND), ""),
    "a deep value": (calls(WEATHER), "[" * 3000, "calls no tool"),
    "a huge number": (
        calls(("move", {"by": 1})),
        '[{"name": "move", "arguments": {"by": ' + "9" * 9000 + "}}]",
        "",
    ),
    "NaN": (calls(("move", {"by": 1})), '[{"name": "move", "arguments": {"by": NaN}}]', "wrong value"),
    "a surrogate": (calls(WEATHER), '[{"name": "weather", "arguments": {"city": "\ud800"}}]', "wrong value"),
    "code": (calls(WEATHER), "__import__('os').remove('/etc/passwd')", ""),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_plan_is_right(case: str) -> None:
    gold, answer = SAME[case]
    mark = marked(gold, answer)
    assert mark.correct and not mark.detail
    assert set(mark.scores.values()) <= {1.0}


@pytest.mark.parametrize("case", OTHER)
def test_another_plan_is_wrong_with_a_reason_that_does_not_give_the_right_one(case: str) -> None:
    gold, answer, reason = OTHER[case]
    mark = marked(gold, answer)
    assert not mark.correct and mark.detail
    assert reason in mark.detail
    assert "Oslo" not in mark.detail


def test_partial_scores_count_tools_and_arguments() -> None:
    gold = calls(FIND, SENT)
    half = calls(FIND, ("send", {"to": "Ben", "text": "$1"}), WEATHER)
    scores = marked(gold, half).scores
    assert scores == {
        "tool_precision": pytest.approx(2 / 3),
        "tool_recall": 1.0,
        "tool_f1": pytest.approx(0.8),
        "argument_f1": pytest.approx(2 * 2 / (3 + 4)),
    }


def test_a_score_without_a_denominator_is_left_out() -> None:
    assert marked("[]", "[]").scores == {}
    assert marked("[]", calls(WEATHER)).scores == {"tool_precision": 0, "tool_f1": 0, "argument_f1": 0}
    assert marked(calls(WEATHER), "[]").scores == {"tool_recall": 0, "tool_f1": 0, "argument_f1": 0}


def test_a_text_without_calls_is_no_answer_and_scores_nothing() -> None:
    domain = tool_domain()
    item = Instance(id="i", question="Q", answer=calls(WEATHER), extra={"tools": TOOLS})
    (scored,) = domain.score([item], ["It is sunny."])
    assert (scored.answer, scored.correct) == (None, False)
    assert set(scored.scores) == set(domain.scores) and not any(scored.scores.values())


def test_many_references_to_one_call_take_no_time() -> None:
    chain = [Call("find", {"name": "a"})]
    chain += [Call("send", {"to": f"${n}", "text": f"${n}"}) for n in range(1, 400)]
    assert same_plan(write_calls(chain), write_calls(chain))
    assert not same_plan(write_calls(chain), write_calls(chain[:-1]))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.builds(Call, st.sampled_from("abc"), st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)),
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(CALLS, CALLS, st.randoms())
def test_a_plan_equals_itself_in_any_order_and_only_itself(one: Any, other: Any, rng: Any) -> None:
    plain = [call for call in one if "$" not in json.dumps(call.arguments)]
    mixed = rng.sample(plain, len(plain))
    assert plan_key(plain) == plan_key(mixed)
    assert plan_key(one) != plan_key([*one, Call("d", {})])
    assert (plan_key(one) == plan_key(other)) == (plan_key(other) == plan_key(one))
