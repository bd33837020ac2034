"""What the gateway repeats, what it gives up, and what it records of both."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gateway_calls import GOOD, KEY, ask, make, rows
from openai_server import (
    Answer,
    OpenAIServer,
    Reply,
    Request,
    completion,
    text_reply,
    tool_reply,
)

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import (
    TeacherError,
)


def in_turn(*replies: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Each reply once, then the last for ever."""
    left = list(replies)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


FAULTS: dict[str, Callable[[Request], Answer]] = {
    "malformed": lambda r: tool_reply(r, '{"items": [{"question": "1+1?", "answer": }'),
    "wrong types": lambda r: tool_reply(r, [{"question": 1, "answer": 2}]),
    "no items": lambda r: tool_reply(r, []),
    "arguments are a list": lambda r: tool_reply(r, "[1, 2]"),
    "prose": lambda r: text_reply(r, "I would rather not."),
    "null content": lambda r: text_reply(r, None),
    "empty choices": lambda r: {**completion(r, {"content": ""}), "choices": []},
    "null choices": lambda r: {**completion(r, {"content": ""}), "choices": None},
    "an error in a 200": lambda r: {"error": {"message": "overloaded"}},
    "HTML with status 200": lambda r: b"<html>a proxy says hello</html>",
    "cut at once": lambda r: tool_reply(r, '{"items": [{"question": "1+', "length"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_content_is_retried_then_recorded(fault: str, tmp_path: Path) -> None:
    with OpenAIServer(FAULTS[fault]) as server:
        found = ask(make(server.url, tmp_path, content_attempts=2, cached=True))
        assert len(server.requests) == found.attempts == 2
        assert found.valid == [] and len(found.failures) >= 2
        ask(make(server.url, tmp_path, content_attempts=2, cached=True))
        assert len(server.requests) == 4, "a failure was cached"
    (first, _) = Ledger(tmp_path / "ledger.jsonl").records()
    assert (first.ok, first.attempts, first.valid) == (False, 2, 0)
    assert first.failed >= 2


@pytest.mark.parametrize("fault", ["malformed", "null content", "empty choices", "HTML with status 200"])
def test_a_later_attempt_may_succeed_with_another_seed(fault: str, tmp_path: Path) -> None:
    with OpenAIServer(in_turn(FAULTS[fault], rows)) as server:
        found = ask(make(server.url, tmp_path))
    assert len(found.valid) == 2 and found.attempts == 2 and len(found.failures) == 1
    first, second = (request["seed"] for request in server.requests)
    assert first != second


def test_no_seed_is_sent_when_told_so(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        ask(make(server.url, tmp_path, send_seed=False, temperature=None))
    assert "seed" not in server.requests[0] and "temperature" not in server.requests[0]


def test_usage_adds_up_over_attempts_and_unknown_usage_is_estimated(tmp_path: Path) -> None:
    with OpenAIServer(in_turn(FAULTS["malformed"], rows)) as server:
        assert tuple(ask(make(server.url, tmp_path)).usage) == (20, 10)
    with OpenAIServer(lambda r: tool_reply(r, GOOD, usage=False)) as server:
        prompt, completion = ask(make(server.url, tmp_path)).usage
    # Four characters a token: "You teach." and "Write two rows." are 25, the arguments about 90.
    assert prompt == 7 and completion is not None and 15 < completion < 40
    totals = Ledger(tmp_path / "ledger.jsonl").totals()
    assert (totals.calls, totals.attempts, totals.prompt_tokens, totals.unmetered) == (2, 3, 27, 1)
    *_, last = Ledger(tmp_path / "ledger.jsonl").records()
    assert last.estimated and last.cost is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_sent_again_and_each_request_counted(status: int, tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "busy"}}, status, {"Retry-After": "0.01"})
    with OpenAIServer(in_turn(lambda r: busy, lambda r: busy, rows)) as server:
        found = ask(make(server.url, tmp_path, transport_retries=2))
    assert len(found.valid) == 2 and found.attempts == len(server.requests) == 3


@pytest.mark.parametrize(("status", "says"), [(429, "requests_per_minute"), (500, "status 500")])
def test_exhausted_transport_says_so(status: int, says: str, tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "busy"}}, status, {"Retry-After": "0.01"})
    with OpenAIServer(lambda r: busy) as server, pytest.raises(TeacherError, match=says):
        ask(make(server.url, tmp_path, transport_retries=1))
    assert len(server.requests) == 2, "content attempts multiplied the retries"
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert not record.ok and record.error is not None and record.attempts == 2


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "temperature"),
        (401, "OPENAI_API_KEY"),
        (403, "OPENAI_API_KEY"),
        (404, "name"),
        (422, "send_seed"),
    ],
)
def test_a_refusal_fails_at_once_and_shows_no_key(
    status: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    refusal = Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status)
    with OpenAIServer(lambda r: refusal) as server, pytest.raises(TeacherError) as caught:
        ask(make(server.url, tmp_path))
    text = str(caught.value)
    assert len(server.requests) == 1
    assert says in text and str(status) in text and "openai:test" in text and server.url in text
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in text and KEY not in (tmp_path / "ledger.jsonl").read_text()
    assert caught.value.__cause__ is None


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    with (
        OpenAIServer(lambda r: Reply(delay=600)) as server,
        pytest.raises(TeacherError, match=r"no answer within 2 s.*`timeout`"),
    ):
        ask(make(server.url, tmp_path, timeout=2, transport_retries=1))
    assert len(server.requests) == 2


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"cannot be reached.*base_url"):
        ask(make("http://127.0.0.1:9/v1", tmp_path, transport_retries=0))
