"""BFCL's rules: a case is named by its rule and has a category, a key, a student's text, and whether it is right.

All were compared with the released checker (`bfcl-eval` 2026.3.23), where that can
read the answer.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.tool_use.bfcl_rules import answer_of, fault, keys_of, partial_scores
from dataenvgym.envs.domains.tool_use.calls import Call, read_calls, write_calls


def tool(name: str, required: str, **properties: Any) -> dict[str, Any]:
    known = {key: one if isinstance(one, dict) else {"type": one} for key, one in properties.items()}
    return {"name": name, "parameters": {"type": "dict", "properties": known, "required": required.split()}}


FLOATS, TEXTS = ({"type": "array", "items": {"type": kind}} for kind in ("float", "string"))
NUMBERS = {"type": "tuple", "items": {"type": "integer"}}
OBJECTS = {"type": "array", "items": {"type": "dict"}}
TOOLS = [
    tool("area", "base height", base="integer", height="float", unit="string"),
    tool("book", "city", city="string", nights="integer", quiet="boolean", extras=TEXTS, near=NUMBERS),
    tool("plot", "points", points=FLOATS, style="dict", parts=OBJECTS),
    tool("geo.find", "place", place="any"),
]
AREA: Any = [{"area": {"base": [6], "height": [10.0, 10], "unit": ["cm", ""]}}]
BOOK: Any = [
    {
        "book": {
            "city": ["New York, NY", "NYC"],
            "nights": [2],
            "quiet": [True, ""],
            "extras": [["Late check-out", "pool"], ""],
            "near": ["", [1, 2]],
        }
    }
]
PLOT: Any = [
    {
        "plot": {
            "points": [[1.0, 2.5]],
            "style": [{"color": ["Dark red", "maroon"], "width": [1, ""]}, ""],
            "parts": ["", [{"name": ["a"]}, {"name": ["b"], "size": [2, 3]}]],
        }
    }
]
VARIABLE: Any = [{"area": {"base": ["my_base"], "height": [1.0], "unit": [""]}}]
PARALLEL: Any = [
    {"area": {"base": [6], "height": [10.0], "unit": ["cm", ""]}},
    {"geo.find": {"place": ["Rome"]}},
    {"area": {"base": [7], "height": [1.0], "unit": [""]}},
]

Case = tuple[str, Any, str, bool]
CASES: dict[str, Case] = {
    "the gold call": ("simple", AREA, '{"name": "area", "arguments": {"base": 6, "height": 10.0}}', True),
    "an optional argument left out": ("simple", AREA, "area(base=6, height=10.0)", True),
    "an optional argument with an allowed value": ("simple", AREA, "area(base=6, height=10.0, unit='cm')", True),
    "an optional argument with another value": ("simple", AREA, "area(base=6, height=10.0, unit='m')", False),
    "a required argument is missing": ("simple", AREA, "area(base=6)", False),
    "an argument that the tool has not": ("simple", AREA, "area(base=6, height=10.0, color='red')", False),
    "a tool that is not there": ("simple", AREA, "surface(base=6, height=10.0)", False),
    "another tool": ("simple", AREA, "geo.find(place='6')", False),
    "an integer where a float is asked": ("simple", AREA, "area(base=6, height=10)", True),
    "a float where an integer is asked": ("simple", AREA, "area(base=6.0, height=10.0)", False),
    "a number as text": ("simple", AREA, "area(base='6', height=10.0)", False),
    "another number": ("simple", AREA, "area(base=6, height=10.5)", False),
    "null for a number": ("simple", AREA, "area(base=6, height=None)", False),
    "true for a number": ("simple", AREA, "area(base=True, height=10.0)", False),
    "NaN": ("simple", AREA, '{"name": "area", "arguments": {"base": 6, "height": NaN}}', False),
    "a huge integer": ("simple", AREA, f"area(base={'9' * 500}, height=10.0)", False),
    "arguments in another order": ("simple", AREA, "area(height=10.0, base=6)", True),
    "positional arguments are not read": ("simple", AREA, "area(6, 10.0)", False),
    "positional and keyword arguments": ("simple", AREA, "area(6, height=10.0)", False),
    "a positional argument too many is not read": ("simple", AREA, "area(1, base=6, height=10.0)", True),
    "two calls for one": ("simple", AREA, "area(base=6, height=10.0)\narea(base=6, height=10.0)", False),
    "two blocks with one call each are two calls": (
        "simple",
        AREA,
        "```\narea(base=6, height=10.0)\n```\nor\n```\narea(base=6, height=10.0)\n```",
        False,
    ),
    "no call": ("simple", AREA, "I cannot do that.", False),
    "an empty list": ("simple", AREA, "[]", False),
    "a nested call is one call more": ("simple", AREA, "area(base=geo.find(place='x'), height=10.0)", False),
    "words after the call": ("simple", AREA, "area(base=6, height=10.0)\nThat is the area.", True),
    "words before JSON": ("simple", AREA, 'Sure: {"area": {"base": 6, "height": 10}}', True),
    "arguments as a text of JSON": (
        "simple",
        AREA,
        '{"name":"area","arguments":"{\\"base\\":6,\\"height\\":10}"}',
        True,
    ),
    "a call in thinking does not count": ("simple", AREA, "<think>area(base=6, height=10.0)</think> No.", False),
    "a variable that the key names": ("simple", VARIABLE, "area(base=my_base, height=1.0)", True),
    "a variable is compared as it is": ("simple", VARIABLE, "area(base='My base', height=1.0)", False),
    "text: case aside": ("simple", BOOK, "book(city='new york, ny', nights=2)", True),
    "text: spaces and ,./-_*^ aside": ("simple", BOOK, "book(city='New-York_ NY.', nights=2)", True),
    "text: another allowed value": ("simple", BOOK, "book(city='nyc', nights=2)", True),
    "text: other marks count": ("simple", BOOK, "book(city='New York (NY)', nights=2)", False),
    "text: other words": ("simple", BOOK, "book(city='New York City', nights=2)", False),
    "text: a list of one": ("simple", BOOK, "book(city=['NYC'], nights=2)", False),
    "an argument that the key demands": ("simple", BOOK, "book(city='NYC')", False),
    "true": ("simple", BOOK, '{"book": {"city": "NYC", "nights": 2, "quiet": true}}', True),
    "'true' as text": ("simple", BOOK, "book(city='NYC', nights=2, quiet='true')", False),
    "1 for true": ("simple", BOOK, "book(city='NYC', nights=2, quiet=1)", False),
    "false for true": ("simple", BOOK, "book(city='NYC', nights=2, quiet=False)", False),
    "list: texts as texts are compared": (
        "simple",
        BOOK,
        "book(city='NYC', nights=2, extras=['LATE checkout','Pool'])",
        True,
    ),
    "list: another order": (
        "simple",
        BOOK,
        "book(city='NYC', nights=2, extras=['pool', 'late check-out'])",
        False,
    ),
    "list: an item too many": (
        "simple",
        BOOK,
        "book(city='NYC', nights=2, extras=['late check-out','pool','x'])",
        False,
    ),
    "list: left out as an empty list": ("simple", BOOK, "book(city='NYC', nights=2, extras=[])", True),
    "list: numbers in it": ("simple", BOOK, "book(city='NYC', nights=2, extras=[1, 2])", False),
    "list: a text for it": ("simple", BOOK, "book(city='NYC', nights=2, extras='pool')", False),
    "a list for a tuple": ("simple", BOOK, "book(city='NYC', nights=2, near=[1, 2])", True),
    "a tuple": ("simple", BOOK, "book(city='NYC', nights=2, near=(1, 2))", True),
    "list of floats": ("simple", PLOT, "plot(points=[1.0, 2.5])", True),
    "list of floats: integers in it are another type": ("simple", PLOT, "plot(points=[1, 2.5])", False),
    "dict: an allowed value of each": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], style={'color': 'maroon', 'width': 1})",
        True,
    ),
    "dict: texts as texts are compared": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], style={'color': 'DARK RED'})",
        True,
    ),
    "dict: a key left out that may be": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], style={'color': 'maroon'})",
        True,
    ),
    "dict: a key left out that may not be": ("simple", PLOT, "plot(points=[1.0, 2.5], style={'width': 1})", False),
    "dict: a key too many": ("simple", PLOT, "plot(points=[1.0, 2.5], style={'color': 'maroon', 'x': 1})", False),
    "dict: another value": ("simple", PLOT, "plot(points=[1.0, 2.5], style={'color': 'blue'})", False),
    "dict: 1.0 for 1 is equal within": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], style={'color': 'maroon', 'width': 1.0})",
        True,
    ),
    "list of dicts": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], parts=[{'name': 'A'}, {'name': 'b', 'size': 3}])",
        True,
    ),
    "list of dicts: in another order": (
        "simple",
        PLOT,
        "plot(points=[1.0, 2.5], parts=[{'name': 'b', 'size': 3}, {'name': 'a'}])",
        False,
    ),
    "list of dicts: one missing": ("simple", PLOT, "plot(points=[1.0, 2.5], parts=[{'name': 'a'}])", False),
    "any is compared as a text": ("simple", [{"geo.find": {"place": ["Rome"]}}], "geo.find(place='rome')", True),
    "a dotted name without its dots": (
        "simple",
        [{"geo.find": {"place": ["Rome"]}}],
        "geo_find(place='Rome')",
        False,
    ),
    "multiple: the one call": ("multiple", AREA, "area(base=6, height=10.0)", True),
    "multiple: the wrong one of the tools": ("multiple", AREA, "book(city='NYC', nights=2)", False),
    "multiple: a call too many": ("multiple", AREA, "[area(base=6, height=10.0), geo.find(place='x')]", False),
    "parallel: in the key's order": (
        "parallel",
        PARALLEL,
        "[area(base=6, height=10), geo.find(place='Rome'), area(base=7, height=1)]",
        True,
    ),
    "parallel: in any order": (
        "parallel_multiple",
        PARALLEL,
        "[area(base=7, height=1), area(base=6, height=10), geo.find(place='Rome')]",
        True,
    ),
    "parallel: in marks of their own": (
        "live_parallel",
        PARALLEL,
        "<tool_call>area(base=6, height=10)</tool_call><tool_call>geo.find(place='Rome')</tool_call>"
        "<tool_call>area(base=7, height=1)</tool_call>",
        True,
    ),
    "parallel: one missing": ("parallel", PARALLEL, "[area(base=6, height=10), geo.find(place='Rome')]", False),
    "parallel: one twice": (
        "parallel",
        PARALLEL,
        "[area(base=6, height=10), geo.find(place='Rome'), area(base=6, height=10)]",
        False,
    ),
    "parallel: one wrong": (
        "parallel",
        PARALLEL,
        "[area(base=6, height=10), geo.find(place='Paris'), area(base=7, height=1)]",
        False,
    ),
    "parallel: values in each other's place": (
        "parallel",
        PARALLEL,
        "[area(base=6, height=1), geo.find(place='Rome'), area(base=7, height=10)]",
        False,
    ),
    "irrelevance: words": ("irrelevance", [], "None of the functions can do that.", True),
    "irrelevance: an empty list": ("irrelevance", [], "[]", True),
    "irrelevance: nothing": ("live_irrelevance", [], "", True),
    "irrelevance: any call": ("live_irrelevance", [], "area(base=6, height=10.0)", False),
    "irrelevance: a call of an invented tool": ("irrelevance", [], "anything()", False),
    "relevance: any call": ("live_relevance", [], "anything(x=1)", True),
    "relevance: words": ("live_relevance", [], "I would use a tool.", False),
}


@pytest.mark.parametrize("category, key, text, right", CASES.values(), ids=CASES)
def test_rules(category: str, key: Any, text: str, right: bool) -> None:
    found = fault(category, TOOLS, key, read_calls(text) or [])
    assert (not found) == right, found


@pytest.mark.parametrize(
    "key", [AREA, BOOK, PLOT, VARIABLE, PARALLEL], ids=["area", "book", "plot", "variable", "parallel"]
)
def test_the_gold_answer_of_a_key_is_right_and_its_own_key_too(key: Any) -> None:
    calls = answer_of(TOOLS, key)
    assert read_calls(write_calls(calls)) == calls
    assert fault("parallel", TOOLS, key, calls) == fault("parallel", TOOLS, keys_of(calls), calls) == ""
    assert set(partial_scores(TOOLS, key, calls).values()) == {1.0}


def test_reasons_do_not_say_the_right_values() -> None:
    reasons = [
        fault(category, TOOLS, key, read_calls(text) or []) for category, key, text, right in CASES.values()
    ]
    assert not any(secret in reason for reason in reasons for secret in ("NYC", "maroon", "Rome", "cm", "6"))


def test_partial_scores() -> None:
    half = [Call("area", {"base": 6, "height": 1.0}), Call("surface", {})]
    assert partial_scores(TOOLS, PARALLEL[:2], half) == {
        "tool_precision": 0.5,
        "tool_recall": 0.5,
        "tool_f1": 0.5,
        "argument_f1": pytest.approx(2 / 5),
    }
    assert partial_scores(TOOLS, [], []) == {}
    assert partial_scores(TOOLS, [], half) == {"tool_precision": 0.0, "tool_f1": 0.0, "argument_f1": 0.0}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["base", "height", "unit", "points", "style", "parts", "x"]), VALUES)


@settings(max_examples=60)
@given(st.lists(st.builds(Call, st.sampled_from(["area", "plot", "geo.find", "x"]), ARGUMENTS), max_size=3))
def test_no_answer_raises_and_scores_lie_between_0_and_1(calls: list[Call]) -> None:
    for category, key in (("simple", AREA), ("multiple", PLOT), ("parallel", PARALLEL), ("irrelevance", [])):
        assert isinstance(fault(category, TOOLS, key, calls), str)
        assert all(0 <= value <= 1 for value in partial_scores(TOOLS, key, calls).values())
    assert all(0 <= value <= 1 for value in partial_scores([], keys_of(calls), calls).values())
