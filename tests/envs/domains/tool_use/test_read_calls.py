"""Reading calls from what models write: every form, the plain words, and what is meant to harm."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataenvgym.envs.domains.tool_use.calls import LONGEST, Call, read_calls, write_calls
from dataenvgym.envs.domains.tool_use.values import DEEPEST

F = Call("f", {"a": 1})
G = Call("g", {"b": "x"})
OBJECT = '{"name": "f", "arguments": {"a": 1}}'
OTHER = '{"name": "g", "arguments": {"b": "x"}}'

FORMS: dict[str, tuple[str, list[Call] | None]] = {
    "as it is trained": (f"[{OBJECT}, {OTHER}]", [F, G]),
    "one object": (OBJECT, [F]),
    "objects in lines": (f"{OBJECT}\n{OTHER}", [F, G]),
    "objects with semicolons": (f"{OBJECT}; {OTHER}", [F, G]),
    "parameters": ('{"name": "f", "parameters": {"a": 1}}', [F]),
    "args": ('{"name": "f", "args": {"a": 1}}', [F]),
    "arguments as JSON text": ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [F]),
    "arguments null": ('{"name": "f", "arguments": null}', [Call("f", {})]),
    "arguments as an empty text": ('{"name": "f", "arguments": ""}', [Call("f", {})]),
    "no arguments": ('{"name": "f"}', [Call("f", {})]),
    "arguments as a list": ('{"name": "f", "arguments": [1]}', [Call("f", {}, (1,))]),
    "OpenAI message": (
        '{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": '
        '{"name": "f", "arguments": "{\\"a\\": 1}"}}]}',
        [F],
    ),
    "OpenAI call": (f'{{"type": "function", "function": {OBJECT}}}', [F]),
    "function as the name": ('[{"function": "f", "parameters": {"a": 1}}]', [F]),
    "BFCL": ('[{"f": {"a": 1}}, {"g": {"b": "x"}}]', [F, G]),
    "BFCL in one object": ('{"f": {"a": 1}, "g": {"b": "x"}}', [F, G]),
    "Hermes": (f"<tool_call>\n{OBJECT}\n</tool_call>\n<tool_call>\n{OTHER}\n</tool_call>", [F, G]),
    "Hermes, not closed": (f"<tool_call>\n{OBJECT}", [F]),
    "Hermes with a fence": (f"<tool_call>\n```json\n{OBJECT}\n```\n</tool_call>", [F]),
    "Hermes with words": (f"Let me look.\n<tool_call>{OBJECT}</tool_call>\nDone.", [F]),
    "BFCL's tag": ("<TOOLCALL>[f(a=1)]</TOOLCALL>", [F]),
    "Mistral": (f"[TOOL_CALLS] [{OBJECT}]</s>", [F]),
    "Llama 3.1": ('<function=f>{"a": 1}</function>', [F]),
    "Llama 3.1, built in": ("<|python_tag|>f(a=1)<|eom_id|>", [F]),
    "Qwen3-Coder": (
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\ntwo\nlines\n</parameter>\n</function>\n"
        "</tool_call>",
        [Call("f", {"a": 1, "b": "two\nlines"})],
    ),
    "GLM": ("<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>", [F]),
    "DeepSeek V3": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
        '{"a": 1}\n```<｜tool▁call▁end｜>',
        [F],
    ),
    "DeepSeek V3.1": (
        '<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜>'
        '<｜tool▁call▁begin｜>g<｜tool▁sep｜>{"b": "x"}',
        [F, G],
    ),
    "Kimi": ('<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|>', [F]),
    "harmony": (
        "<|channel|>analysis<|message|>f?<|end|><|start|>assistant<|channel|>commentary to=functions.f "
        '<|constrain|>json<|message|>{"a": 1}<|call|>',
        [F],
    ),
    "the tools said again": (
        f'<tools>{{"name": "g", "description": "", "parameters": {{"type": "object"}}}}</tools>\n{OBJECT}',
        [F],
    ),
    "Phi": (f"functools[{OBJECT}]", [F]),
    "fenced": (f"```json\n[{OBJECT}]\n```", [F]),
    "fenced in a line": (f"```json {OBJECT} ```", [F]),
    "fenced, not closed": (f"```\n{OBJECT}", [F]),
    "two fences are one answer": (f"```json\n{OBJECT}\n```\nand\n```json\n{OTHER}\n```", [F, G]),
    "a fence that is no call beside one that is": (f"```text\nhello there\n```\n```json\n{OBJECT}\n```", [F]),
    "trailing words": (f"{OBJECT}\nThis calls f.", [F]),
    "leading words": (f"I will call f: {OBJECT}", [F]),
    "after thinking": (f"<think>First f(a=2)?</think>\n{OBJECT}", [F]),
    "after thinking that opens in the prompt": (f"Or f(a=2)?</think>{OBJECT}", [F]),
    "thinking only": ("<think>f(a=1)", None),
    "Python": ("f(a=1)", [F]),
    "Python list": ("[f(a=1), g(b='x')]", [F, G]),
    "Python lines": ("f(a=1)\ng(b='x')", [F, G]),
    "Python in words": ("Answer: f(a=1).", [F]),
    "Python in backticks": ("You can use `f(a=1)` for it.", [F]),
    "Python with variables in words": (
        "My plan:\nr = f(a=1)\nand then\nr2 = g(b=r)\nDone.",
        [F, Call("g", {"b": "$1"})],
    ),
    "a mark in an argument of Python": ("f(a='<think>')", [Call("f", {"a": "<think>"})]),
    "Python printed": ("print(f(a=1))", [F]),
    "positional": ("f(1, a=2)", [Call("f", {"a": 2}, (1,))]),
    "dotted": ("math.f(a=1)", [Call("math.f", {"a": 1})]),
    "words of JSON": ("f(a=true, b=null)", [Call("f", {"a": True, "b": None})]),
    "unquoted": ("f(a=celsius)", [Call("f", {"a": "celsius"})]),
    "negative": ("f(a=-1, b=+2.5)", [Call("f", {"a": -1, "b": 2.5})]),
    "tuple": ("f(a=(1, 2))", [Call("f", {"a": [1, 2]})]),
    "dict()": ("f(a=dict(b=1))", [Call("f", {"a": {"b": 1}})]),
    "spread": ("f(**{'a': 1})", [F]),
    "Python dictionary": ("{'name': 'f', 'arguments': {'a': 1}}", [F]),
    "nested": ("g(b=f(a=1))", [F, Call("g", {"b": "$1"})]),
    "variable": ("r = f(a=1)\ng(b=r)", [F, Call("g", {"b": "$1"})]),
    "field": ("r = f(a=1)\ng(b=r['text'])", [F, Call("g", {"b": "$1.text"})]),
    "attribute": ("r = f(a=1)\ng(b=r.text)", [F, Call("g", {"b": "$1.text"})]),
    "format": ("r = f(a=1)\ng(b=f'to {r}')", [F, Call("g", {"b": "to $1"})]),
    "sum of texts": ("r = f(a=1)\ng(b='to ' + r)", [F, Call("g", {"b": "to $1"})]),
    "constant": ("x = 1\nf(a=x)", [F]),
    "function": ("def solve():\n    return f(a=1)", [F]),
    "references go on in the next block": (
        "```\nr = f(a=1)\n```\n```\ng(b=f(a=1))\n```",
        [F, F, Call("g", {"b": "$2"})],
    ),
    "an expression is not worked out": ("f(a=2*3)", [Call("f", {"a": "2 * 3"})]),
    "empty list": ("[]", []),
    "empty message": ('{"tool_calls": []}', []),
    "empty list in a fence": ("```json\n[]\n```", []),
    "null": ("null", []),
    "no tool": ("No tool fits.", []),
    "words": ("I cannot help with that.", None),
    "nothing": ("", None),
    "other JSON": ('{"city": "Paris", "days": 3}', None),
    "a person": ('{"name": "Ann", "age": 3}', None),
    "numbers": ("[1, 2, 3]", None),
    "not closed": ('{"name": "f", "arguments": {"a": 1', None),
    "Python, not closed": ("f(a=1", None),
    "no name": ('{"name": "", "arguments": {}}', None),
    "a call in a loop is read, not run": ("for x in y:\n    f(a=x)", [Call("f", {"a": "x"})]),
    "a class": ("class F: pass", None),
    "words with brackets": ("See page 3 (f) or [1].", None),
}


@pytest.mark.parametrize("text, calls", FORMS.values(), ids=FORMS)
def test_forms(text: str, calls: list[Call] | None) -> None:
    assert read_calls(text) == calls


def test_what_stands_in_an_argument_is_no_mark_up() -> None:
    call = Call("f", {"a": "</think> ```\n<tool_call>{}</tool_call> [TOOL_CALLS] <think>"})
    assert read_calls(write_calls([call])) == [call]


def test_positional_arguments_get_the_names_of_the_tool() -> None:
    assert Call("f", {"c": 3}, (1, 2)).bound(["a", "b", "c"]) == Call("f", {"a": 1, "b": 2, "c": 3})


@pytest.mark.parametrize("call", [Call("f", {}, (1, 2)), Call("f", {"a": 1}, (1,))], ids=["too many", "twice"])
def test_positional_arguments_that_do_not_fit_stay(call: Call) -> None:
    assert call.bound(["a"]) == call


DEEP = 1000
HOSTILE: dict[str, str] = {
    "1 MB argument": json.dumps({"name": "f", "arguments": {"a": "x" * (LONGEST - 100)}}),
    "over 1 MB": json.dumps({"name": "f", "arguments": {"a": "x" * LONGEST}}),
    "deep JSON": '{"name": "f", "arguments": {"a": ' + "[" * DEEP + "]" * DEEP + "}}",
    "deep Python": "f(" * DEEP + ")" * DEEP,
    "deep list in Python": f"f(a={'[' * DEEP}{']' * DEEP})",
    "open brackets": "[" * 100_000,
    "open objects": '{"a":' * 50_000,
    "open calls": "f(\n" * 50_000,
    "open names": "<function=f>" * 20_000,
    "open parameters": "<function=f>" + "<parameter=a>" * 20_000,
    "open keys": "<tool_call>f<arg_key>" + "<arg_key>" * 20_000,
    "long names": ("a" * 5_000 + " ") * 50 + "<｜tool▁sep｜>",
    "open tags": "<tool_call>" * 20_000,
    "open fences": "```\n" * 20_000,
    "open thinking": "<think>" * 20_000,
    "minus": f"f(a={'-' * 90_000}1)",
    "powers": f"f(a={'**'.join(['9'] * 20_000)})",
    "attributes": f"f(a{'.b' * 40_000})",
    "calls of calls": "f" + "()" * 40_000,
    "huge integer": '{"name": "f", "arguments": {"a": ' + "9" * 100_000 + "}}",
    "huge integer in Python": f"f(a={'9' * 50_000})",
    "NaN": '{"name": "f", "arguments": {"a": NaN, "b": -Infinity, "c": 1e999}}',
    "infinite in Python": "f(a=1e999, b=-1e999)",
    "surrogate": 'f(a="\ud800")',
    "surrogate escaped": '{"name": "f", "arguments": {"\\ud800": "\\udfff"}}',
    "null character": 'f(a="\0")',
    "bytes": "f(a=b'x', b=1j, c=..., d=lambda: 0)",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_read_or_hold_nothing(text: str) -> None:
    calls = read_calls(text)
    if calls:
        written = write_calls(calls)
        written.encode()
        json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert read_calls(written) == calls


def test_code_is_never_run(tmp_path: Any) -> None:
    target = tmp_path / "file"
    target.write_text("kept")
    delete = f"__import__('os').remove({str(target)!r})"
    for text in (delete, f"f(a={delete})", f"f(a=[{delete} for _ in range(3)])", f"```python\n{delete}\n```"):
        read_calls(text)
    assert target.read_text() == "kept"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=5,
)
CALLS = st.lists(
    st.builds(
        Call,
        st.from_regex(r"[A-Za-z_][\w.\-]{0,20}", fullmatch=True),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON_VALUES, max_size=3),
        st.lists(JSON_VALUES, max_size=1).map(tuple),
    ),
    max_size=4,
)


@settings(max_examples=40)
@given(CALLS)
def test_what_is_written_is_read_back(calls: list[Call]) -> None:
    assert read_calls(write_calls(calls)) == calls
    assert read_calls(f"Sure.\n```json\n{write_calls([])}\n```") == []


@settings(max_examples=15)
@given(CALLS.filter(bool))
def test_one_line_within_words_is_read_back(calls: list[Call]) -> None:
    written = write_calls(calls)
    if not any(mark in written.lower() for mark in ("<", "```", "[", "assistant", "final")):
        assert read_calls(f"I call these: {written} and wait.") == calls


@given(st.text(st.sampled_from("[]{}()<>\"'`,:=\\/. \n$f1antool_c_think-")) | st.text())
def test_no_text_raises(text: str) -> None:
    calls = read_calls(text)
    assert calls is None or read_calls(write_calls(calls)) == calls


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> str:
        return '{"name": "f", "arguments": {"a": ' + "[" * depth + "]" * depth + "}}"

    assert read_calls(nested(DEEPEST - 10)) is not None
    assert read_calls(nested(DEEPEST + 10)) is None
