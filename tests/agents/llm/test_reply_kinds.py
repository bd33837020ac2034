"""What becomes of each kind of reply, over HTTP: the rows taken, the requests sent, what is said of the rest."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gateway_calls import make
from openai_server import Answer, OpenAIServer, Reply, Request, completion, text_reply, tool_reply
from pydantic import BaseModel

from dataenvgym.agents.llm.gateway import Items
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.prompts import Prompt

ATTEMPTS = 3
PROMPT = Prompt("math/generate_rows", "You teach.", "Write two rows.", "submit_rows", "0123456789abcdef")


class Row(BaseModel):
    question: str
    solution: str = ""
    answer: str


def row(question: str) -> dict[str, str]:
    return {"question": question, "solution": "s", "answer": "1"}


TWO = [row("one?"), row("two?")]
GOOD = json.dumps({"items": TWO})
DRAFT = json.dumps({"items": [row("a draft")]})
BOTH = ("one?", "two?")


def says(text: str | None, **message: Any) -> Callable[[Request], Answer]:
    return lambda request: completion(request, {"content": text, **message})


def calls(arguments: Any, **function: Any) -> Callable[[Request], Answer]:
    call = {"id": "1", "type": "function", "function": {"name": "submit_rows", "arguments": arguments, **function}}
    return lambda request: completion(request, {"content": None, "tool_calls": [call]}, "tool_calls")


def metered(usage: Any) -> Callable[[Request], Answer]:
    def reply(request: Request) -> Answer:
        body = json.dumps({**tool_reply(request, TWO), "usage": "USAGE"})
        return Reply(body.replace('"USAGE"', usage).encode())

    return reply


def harmony(draft: str, final: str) -> str:
    return f"<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{final}"


class Kind(NamedTuple):
    """A reply, the questions taken of it, and a part of what is said of the rest."""

    reply: Callable[[Request], Answer]
    taken: tuple[str, ...]
    says: str = ""


TAKEN = {
    "a call": Kind(calls(GOOD), BOTH),
    "arguments as an object": Kind(calls({"items": TWO}), BOTH),
    "a bare list": Kind(calls(json.dumps(TWO)), BOTH),
    "encoded twice": Kind(calls(json.dumps(GOOD)), BOTH),
    "items as a string": Kind(calls(json.dumps({"items": json.dumps(TWO)})), BOTH),
    "items by number": Kind(calls(json.dumps({"items": {"0": TWO[0], "1": TWO[1]}})), BOTH),
    "another key": Kind(calls(json.dumps({"rows": TWO})), BOTH),
    "another key beside a note": Kind(calls(json.dumps({"note": "two rows", "problems": TWO})), BOTH),
    "one item without a list": Kind(calls(json.dumps(TWO[0])), ("one?",)),
    "a call within the arguments": Kind(
        calls(json.dumps({"name": "submit_rows", "arguments": {"items": TWO}})), BOTH
    ),
    "the older function_call": Kind(says(None, function_call={"name": "submit_rows", "arguments": GOOD}), BOTH),
    "a call without an id": Kind(says(None, tool_calls=[{"function": {"name": "x", "arguments": GOOD}}]), BOTH),
    "a null beside text": Kind(says(GOOD, tool_calls=None), BOTH),
    "an empty call beside text": Kind(says(GOOD, tool_calls=[{"function": {"name": "x", "arguments": ""}}]), BOTH),
    "text": Kind(says(GOOD), BOTH),
    "text in parts": Kind(lambda r: completion(r, {"content": [{"type": "text", "text": GOOD}]}), BOTH),
    "a fenced block": Kind(says(f"Here:\n```json\n{GOOD}\n```\nDone."), BOTH),
    "two fenced blocks": Kind(
        says("\nand\n".join(f"```json\n{json.dumps({'items': [one]})}\n```" for one in TWO)), BOTH
    ),
    "a block written anew": Kind(
        says(f"```json\n{json.dumps({'items': [TWO[0]]})}\n```\nOne is missing:\n```json\n{GOOD}\n```"), BOTH
    ),
    "lines of objects": Kind(says("\n".join(map(json.dumps, TWO))), BOTH),
    "a call as text": Kind(says(json.dumps({"name": "submit_rows", "arguments": {"items": TWO}})), BOTH),
    "a function as text": Kind(
        says(json.dumps({"type": "function", "function": {"name": "submit_rows", "arguments": {"items": TWO}}})),
        BOTH,
    ),
    "a list of calls as text": Kind(
        says("[TOOL_CALLS]" + json.dumps([{"name": "submit_rows", "arguments": {"items": TWO}}])), BOTH
    ),
    "tags around a call": Kind(
        says(f'<tool_call>\n{{"name": "submit_rows", "arguments": {GOOD}}}\n</tool_call>'), BOTH
    ),
    "think": Kind(says(f"<think>maybe {DRAFT} no</think>{GOOD}"), BOTH),
    "think, opened in the prompt": Kind(says(f"maybe {DRAFT} no</think>\n{GOOD}"), BOTH),
    "think within arguments": Kind(calls(f"<think>{DRAFT}</think>{GOOD}"), BOTH),
    "reasoning": Kind(says(f"<reasoning>{DRAFT}</reasoning>\n```json\n{GOOD}\n```"), BOTH),
    "[THINK]": Kind(says(f"[THINK]{DRAFT}[/THINK]{GOOD}"), BOTH),
    "channels": Kind(says(harmony(DRAFT, GOOD)), BOTH),
    "channels without their marks": Kind(says(f"analysisMaybe {DRAFT}.assistantfinal{GOOD}"), BOTH),
    "a draft cut off in thinking": Kind(says('<think>{"items": [{"question": "a dr</think>' + GOOD), BOTH),
    "a draft in prose": Kind(says(f"First I had {DRAFT}. The answer is {GOOD}"), BOTH),
    "the format first": Kind(says('As {"items": [{"question": "...", "answer": "..."}]}:\n' + GOOD), BOTH),
    "braces in prose": Kind(says(f"Fractions such as \\frac{{1}}{{2}}, sets {{1,2}}, [1], [0, 1): {GOOD}"), BOTH),
    "comments and commas": Kind(
        says(f'{{"items": [ // two\n{json.dumps(TWO[0])}, /* more */ {json.dumps(TWO[1])},]}}'), BOTH
    ),
    "raw line breaks": Kind(says(GOOD.replace('"s"', '"line\nbreak"')), BOTH),
    "single quotes": Kind(says(str({"items": TWO})), BOTH),
    "no JSON escapes": Kind(says(GOOD.replace('"s"', r'"\(x\) \sqrt{2}"')), BOTH),
    "a LaTeX command": Kind(says(GOOD.replace("one?", r"half is $\frac12$?")), (r"half is $\frac12$?", "two?")),
    "usage as text": Kind(metered('"many"'), BOTH),
    "usage null": Kind(metered("null"), BOTH),
    "usage negative": Kind(metered('{"prompt_tokens": -5, "completion_tokens": 3}'), BOTH),
    "usage NaN": Kind(metered('{"prompt_tokens": NaN, "completion_tokens": 3}'), BOTH),
    "usage infinite": Kind(metered('{"prompt_tokens": Infinity, "completion_tokens": 3}'), BOTH),
    "a byte order mark": Kind(lambda r: Reply(b"\xef\xbb\xbf" + json.dumps(tool_reply(r, TWO)).encode()), BOTH),
}
PARTS = {
    "cut": Kind(lambda r: tool_reply(r, GOOD[:-20], "length"), ("one?",), "cut at the token limit"),
    "cut, as text": Kind(lambda r: text_reply(r, GOOD[:-20], "length"), ("one?",), "cut at the token limit"),
    "cut, encoded twice": Kind(lambda r: tool_reply(r, json.dumps(GOOD)[:-25], "length"), ("one?",), "cut"),
    "one row without an answer": Kind(
        calls(json.dumps({"items": [TWO[0], {"question": "?"}]})), ("one?",), "answer"
    ),
    "one row that cannot be read": Kind(
        says(f'{{"items": [{json.dumps(TWO[0])}, {{"question": "x", "answer": 4 + }}, {json.dumps(TWO[1])}]}}'),
        BOTH,
        "not valid JSON",
    ),
    "NUL": Kind(calls(GOOD.replace("two?", "two\\u0000?")), ("one?",), "control character U+0000"),
    "an escape sequence": Kind(
        calls(GOOD.replace("two?", "\\u001b[31mtwo?")), ("one?",), "control character U+001B"
    ),
    "a lone surrogate": Kind(calls(GOOD.replace("two?", "two \\ud800?")), ("one?",), "lone surrogate"),
    "a bidirectional override": Kind(calls(GOOD.replace("two?", "two \\u202e?")), ("one?",), "override U+202E"),
    "a line break or a command": Kind(calls(GOOD.replace("two?", "some words\\nu think?")), ("one?",), "LaTeX"),
}
NOTHING = {
    "thinking alone": Kind(says(f"<think>{DRAFT}</think>"), (), "not valid JSON"),
    "thinking that does not end": Kind(says(f"<think>{DRAFT} and {GOOD}"), (), "not valid JSON"),
    "an example alone": Kind(says('{"items": [{"question": "...", "answer": "..."}]}'), (), ""),
    "prose": Kind(says("I would rather not."), (), "not valid JSON"),
    "nothing": Kind(says(None), (), "an empty reply"),
    "an empty list": Kind(calls('{"items": []}'), (), "an empty reply"),
    "no choices": Kind(lambda r: {**completion(r, {}), "choices": []}, (), "no message"),
    "a refusal": Kind(says(None, refusal="I can't help with that."), (), "the model refuses: I can't help"),
    "a content filter": Kind(lambda r: completion(r, {"content": ""}, "content_filter"), (), "content filter"),
    "a web page": Kind(lambda r: b"<html>sign in</html>", (), "a web page: <html>sign in"),
    "an event stream": Kind(
        lambda r: Reply(b'data: {"choices": []}\n\n', headers={"Content-Type": "text/event-stream"}),
        (),
        "event stream",
    ),
    "an error with status 200": Kind(lambda r: {"error": {"message": "overloaded"}}, (), "overloaded"),
    "an empty body": Kind(lambda r: Reply(b""), (), "an empty body"),
    "no object": Kind(lambda r: Reply(b"[1, 2]"), (), "no completion"),
    "nested too deep": Kind(lambda r: Reply(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), (), "nested too deep"),
    "items nested too deep": Kind(calls('{"items": [{"question": ' + "[" * 5000 + "]" * 5000 + "}]}"), (), ""),
}


def ask(server: OpenAIServer, folder: Path) -> Items[Row]:
    import asyncio

    gateway = make(server.url, folder, cached=True, content_attempts=ATTEMPTS, timeout=20)
    return asyncio.run(gateway.items(PROMPT, Row, node="generate_data"))


@pytest.mark.parametrize("name", [*TAKEN, *PARTS, *NOTHING])
def test_a_reply_gives_the_rows_that_are_meant_and_a_reason_for_the_rest(name: str, tmp_path: Path) -> None:
    kind = {**TAKEN, **PARTS, **NOTHING}[name]
    with OpenAIServer(kind.reply) as server:
        found = ask(server, tmp_path)
        assert len(server.requests) == (ATTEMPTS if name in NOTHING else 1)
        again = ask(server, tmp_path)
    assert tuple(one.question for one in found.valid) == kind.taken
    assert bool(found.failures) == (name not in TAKEN)
    assert kind.says in " ".join(failure.reason for failure in found.failures)
    # What came is paid for once, whole or in part; what gave nothing is asked again.
    assert again.valid == found.valid and again.cached == (name not in NOTHING)
    assert len(server.requests) == (2 * ATTEMPTS if name in NOTHING else 1)
    first, second = Ledger(tmp_path / "ledger.jsonl").records()
    assert first.attempts + second.attempts == len(server.requests)
    assert first.reasons[:1] == [failure.reason for failure in found.failures][:1]


@pytest.mark.parametrize("name", ["usage as text", "usage negative", "usage NaN", "usage infinite"])
def test_a_usage_that_cannot_be_true_is_estimated_and_said_to_be(name: str, tmp_path: Path) -> None:
    with OpenAIServer(TAKEN[name].reply) as server:
        found = ask(server, tmp_path)
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert record.estimated and record.prompt_tokens == 7 and found.usage.completion_tokens in range(20, 60)


@pytest.mark.parametrize("name", ["cut", "prose", "a web page", "thinking alone"])
def test_the_tokens_of_a_reply_that_cannot_be_used_count(name: str, tmp_path: Path) -> None:
    kind = {**PARTS, **NOTHING}[name]
    with OpenAIServer(kind.reply) as server:
        ask(server, tmp_path)
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    counted = 0 if name == "a web page" else 10 * len(server.requests)
    assert record.prompt_tokens == (counted or 7 * ATTEMPTS)
    assert record.estimated == (not counted)


def test_a_restored_command_is_counted(tmp_path: Path) -> None:
    with OpenAIServer(TAKEN["a LaTeX command"].reply) as server:
        ask(server, tmp_path)
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert record.repaired == 1
