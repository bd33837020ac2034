import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import (
    Answer,
    OpenAIServer,
    Reply,
    Request,
    completion,
    scripted_replies,
    text_reply,
    tool_reply,
)
from pydantic import BaseModel

from dataenvgym.agents.config import ScriptedConfig, TeacherModelConfig
from dataenvgym.agents.llm.chat_models import build_chat_model
from dataenvgym.agents.llm.gateway import Gateway, Items, tool_schema
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import CachedReply, ResponseCache, cache_key
from dataenvgym.agents.llm.schemas import ActionItem, SubskillItem
from dataenvgym.agents.llm.throttle import Throttle
from dataenvgym.agents.prompts import Prompt, load_prompt
from dataenvgym.envs.errors import (
    ConfigError,
    MissingDependencyError,
    RunFolderError,
    TeacherError,
    UnknownNameError,
)

KEY = "sk-secret-0123456789abcdef"


class QA(BaseModel):
    question: str
    answer: str


PROMPT = Prompt("math/rows", "You teach.", "Write two rows.", "submit_rows", "0123456789abcdef")
GOOD = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]


def rows(request: Request) -> Answer:
    return tool_reply(request, GOOD)


def in_turn(*replies: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Each reply once, then the last for ever."""
    left = list(replies)
    return lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def make(url: str, tmp_path: Path, *, cached: bool = False, **settings: Any) -> Gateway:
    config = TeacherModelConfig(**{"model": "openai:test", "base_url": url, "timeout": 10, **settings})
    cache = ResponseCache(tmp_path / "cache.sqlite") if cached else None
    return Gateway(config, seed=0, cache=cache, ledger=Ledger(tmp_path / "ledger.jsonl"))


def ask(gateway: Gateway, sample: int = 0, prompt: Prompt = PROMPT) -> Items[QA]:
    return asyncio.run(gateway.items(prompt, QA, node="generate_data", iteration=3, sample=sample))


def test_valid_rows_come_back_with_usage_and_a_ledger_line(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        found = ask(make(server.url, tmp_path, max_tokens=77, temperature=0.3))
    assert [row.model_dump() for row in found.valid] == GOOD
    assert (found.failures, found.attempts, found.cached, tuple(found.usage)) == ([], 1, False, (10, 5))
    (request,) = server.requests
    assert [m["content"] for m in request["messages"]] == ["You teach.", "Write two rows."]
    assert request["tool_choice"]["function"]["name"] == "submit_rows"
    assert request["temperature"] == 0.3
    assert 77 in (request.get("max_tokens"), request.get("max_completion_tokens"))
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert (record.node, record.iteration, record.model, record.prompt) == (
        "generate_data",
        3,
        "openai:test",
        "math/rows",
    )
    assert (record.ok, record.attempts, record.valid, record.failed) == (True, 1, 2, 0)
    assert (record.prompt_tokens, record.completion_tokens, record.error) == (10, 5, None)


def test_a_cut_reply_gives_its_closed_rows_only(tmp_path: Path) -> None:
    cut = json.dumps({"items": [*GOOD, {"question": "3+3?", "answer": "60"}]})[:-4]
    with OpenAIServer(lambda r: tool_reply(r, cut, "length")) as server:
        found = ask(make(server.url, tmp_path, cached=True))
        assert [row.model_dump() for row in found.valid] == GOOD
        assert len(found.failures) == 1
        assert "cut" in found.failures[0].reason and "3+3?" in found.failures[0].raw
        assert found.attempts == 1


def test_each_row_is_validated_alone(tmp_path: Path) -> None:
    mixed = [
        GOOD[0],
        {"question": "no answer"},
        "text",
        {"question": 3, "answer": "x"},
        {**GOOD[1], "more": 1},
    ]
    with OpenAIServer(lambda r: tool_reply(r, mixed)) as server:
        found = ask(make(server.url, tmp_path))
    assert [row.model_dump() for row in found.valid] == GOOD
    assert len(found.failures) == 3
    assert "answer" in found.failures[0].reason


def test_a_reply_in_prose_is_read_too(tmp_path: Path) -> None:
    text = f"Sure!\n```json\n{json.dumps(GOOD)}\n```"
    with OpenAIServer(lambda r: text_reply(r, text)) as server:
        assert [row.model_dump() for row in ask(make(server.url, tmp_path)).valid] == GOOD


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


def test_usage_adds_up_over_attempts_and_unknown_usage_stays_null(tmp_path: Path) -> None:
    with OpenAIServer(in_turn(FAULTS["malformed"], rows)) as server:
        assert tuple(ask(make(server.url, tmp_path)).usage) == (20, 10)
    with OpenAIServer(lambda r: tool_reply(r, GOOD, usage=False)) as server:
        assert tuple(ask(make(server.url, tmp_path)).usage) == (None, None)
    totals = Ledger(tmp_path / "ledger.jsonl").totals()
    assert (totals.calls, totals.attempts, totals.prompt_tokens, totals.unmetered) == (2, 3, 20, 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_client_alone_retries_the_transport(status: int, tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "busy"}}, status, {"Retry-After": "0.01"})
    with OpenAIServer(in_turn(lambda r: busy, lambda r: busy, rows)) as server:
        found = ask(make(server.url, tmp_path, transport_retries=2))
    assert len(found.valid) == 2 and found.attempts == 1 and len(server.requests) == 3


@pytest.mark.parametrize(("status", "says"), [(429, "requests_per_minute"), (500, "status 500")])
def test_exhausted_transport_says_so(status: int, says: str, tmp_path: Path) -> None:
    busy = Reply({"error": {"message": "busy"}}, status, {"Retry-After": "0.01"})
    with OpenAIServer(lambda r: busy) as server, pytest.raises(TeacherError, match=says):
        ask(make(server.url, tmp_path, transport_retries=1))
    assert len(server.requests) == 2, "content attempts multiplied the client's retries"
    (record,) = Ledger(tmp_path / "ledger.jsonl").records()
    assert not record.ok and record.error is not None and record.attempts == 1


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
        pytest.raises(TeacherError, match=r"no answer within 1 s.*`timeout`"),
    ):
        ask(make(server.url, tmp_path, timeout=1, transport_retries=1))
    assert len(server.requests) == 2


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"cannot be reached.*base_url"):
        ask(make("http://127.0.0.1:9/v1", tmp_path, transport_retries=0))


async def many(gateway: Gateway, count: int) -> list[Items[QA]]:
    return await asyncio.gather(*(gateway.items(PROMPT, QA, node="generate_data", sample=i) for i in range(count)))


def test_calls_run_side_by_side(tmp_path: Path) -> None:
    barrier = threading.Barrier(24)  # opens only when 24 requests are in flight at once

    def reply(request: Request) -> Answer:
        barrier.wait(timeout=60)
        return rows(request)

    with OpenAIServer(reply) as server:
        found = asyncio.run(many(make(server.url, tmp_path, max_concurrency=24, timeout=90), 24))
    assert server.peak == 24
    assert all(len(items.valid) == 2 for items in found)
    assert Ledger(tmp_path / "ledger.jsonl").totals().calls == 24


def test_never_more_in_flight_than_allowed_also_over_gateways(tmp_path: Path) -> None:
    async def two() -> None:
        a, b = (make(server.url, tmp_path, max_concurrency=3) for _ in range(2))
        await asyncio.gather(many(a, 10), many(b, 10))

    with OpenAIServer(lambda r: Reply(tool_reply(r, GOOD), delay=0.02)) as server:
        asyncio.run(two())
    assert len(server.requests) == 20 and 1 < server.peak <= 3


def test_one_gateway_serves_several_event_loops(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        gateway = make(server.url, tmp_path, transport_retries=0)
        for _ in range(3):
            assert all(len(items.valid) == 2 for items in asyncio.run(many(gateway, 20)))


def test_connections_can_be_closed(tmp_path: Path) -> None:
    async def go() -> None:
        await gateway.items(PROMPT, QA, node="n")
        await gateway.aclose()
        await gateway.items(PROMPT, QA, node="n")
        await gateway.aclose()
        await gateway.aclose()

    with OpenAIServer(rows) as server:
        gateway = make(server.url, tmp_path)
        asyncio.run(go())


def test_a_call_that_is_cancelled_leaves_a_record_and_the_others_alone(tmp_path: Path) -> None:
    async def go() -> Items[QA]:
        lost = asyncio.create_task(gateway.items(PROMPT, QA, node="n"))
        kept = asyncio.create_task(gateway.items(PROMPT, QA, node="n", sample=1))
        await asyncio.sleep(0)
        lost.cancel()
        with pytest.raises(asyncio.CancelledError):
            await lost
        return await kept

    with OpenAIServer(rows) as server:
        gateway = make(server.url, tmp_path)
        assert len(asyncio.run(go()).valid) == 2
    assert sorted(str(r.error) for r in Ledger(tmp_path / "ledger.jsonl").records()) == ["None", "cancelled"]


def test_no_reply_is_streamed_even_when_a_graph_streams_messages(tmp_path: Path) -> None:
    from langgraph.graph import END, START, StateGraph
    from typing_extensions import TypedDict

    class State(TypedDict):
        n: int

    async def node(state: State) -> State:
        return {"n": len((await gateway.items(PROMPT, QA, node="n")).valid)}

    async def go() -> None:
        graph = StateGraph(State).add_node("node", node)
        graph.add_edge(START, "node").add_edge("node", END)
        async for _ in graph.compile().astream({"n": 0}, stream_mode="messages"):
            pass

    with OpenAIServer(rows) as server:
        gateway = make(server.url, tmp_path)
        asyncio.run(go())
    assert len(server.requests) == 1 and not server.requests[0].get("stream")


def test_the_second_time_nothing_is_sent(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        first = ask(make(server.url, tmp_path, cached=True))
        again = ask(make(server.url, tmp_path, cached=True))
        assert len(server.requests) == 1
        assert again.cached and again.attempts == 0
        assert again.valid == first.valid and again.usage == first.usage
        totals = Ledger(tmp_path / "ledger.jsonl").totals()
        assert (totals.calls, totals.cached, totals.prompt_tokens) == (1, 1, 10)
        assert Ledger(tmp_path / "ledger.jsonl").totals("other") == (0,) * 8
        # Whatever can change the reply is another entry; `cache: false` asks anew.
        other = PROMPT._replace(text="Write three rows.")
        ask(make(server.url, tmp_path, cached=True), sample=1)
        ask(make(server.url, tmp_path, cached=True), prompt=other)
        ask(make(server.url, tmp_path, cached=True, temperature=0.1))
        ask(make(server.url, tmp_path, cached=True, max_tokens=9))
        ask(make(server.url, tmp_path, cached=True, cache=False))
        assert len(server.requests) == 6


def test_a_reply_with_a_bad_row_is_not_cached(tmp_path: Path) -> None:
    with OpenAIServer(lambda r: tool_reply(r, [GOOD[0], {"question": "?"}])) as server:
        for _ in range(2):
            assert len(ask(make(server.url, tmp_path, cached=True)).valid) == 1
    assert len(server.requests) == 2


def test_nested_items_reach_the_model_without_references() -> None:
    schema = json.dumps(tool_schema("submit_actions", ActionItem))
    assert "$ref" not in schema and "$defs" not in schema
    assert "Rows to add (positive)" in schema


def subskills(gateway: Gateway, sample: int = 0) -> Items[SubskillItem]:
    """What the scripted model understands: a packaged prompt."""
    template = load_prompt("math", "propose_subskills")
    prompt = template.render(skill="addition", count=3, existing=[], exemplars=[])
    return asyncio.run(gateway.items(prompt, SubskillItem, node="n", sample=sample))


def test_a_seed_gives_the_same_scripted_reply_in_process_and_over_http(tmp_path: Path) -> None:
    scripted = make("", tmp_path, model="scripted", base_url=None)
    with OpenAIServer(scripted_replies(seed=0)) as server:
        over_http = subskills(make(server.url, tmp_path))
    in_process = subskills(scripted)
    assert len(in_process.valid) == 3
    assert over_http.valid == in_process.valid and over_http.usage != in_process.usage


def test_malformed_scripted_replies_are_faults_like_any_other(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": "scripted", "base_url": None}
    gateway = make("", tmp_path, **settings, scripted=ScriptedConfig(malformed=1.0))
    seen = []
    for sample in range(6):
        found = subskills(gateway, sample)
        assert found.failures
        seen += found.valid
    assert seen and all(item.description.endswith(item.name) for item in seen), "a cut record was completed"


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("opnai:gpt", UnknownNameError, "'openai'"),
        ("vllm:x", UnknownNameError, "openai"),
        ("gpt-4o-mini", ConfigError, "openai:gpt-4o-mini"),
        ("openai:", ConfigError, "provider:model"),
    ],
)
def test_a_misspelt_model_is_told_before_any_call(model: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Gateway(TeacherModelConfig(model=model), seed=0, cache=None, ledger=None)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai:gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("azure_openai:mine", "OPENAI_API_VERSION"),
    ],
)
def test_a_missing_key_is_named(model: str, says: str, tmp_path: Path) -> None:
    config = TeacherModelConfig(model=model)
    with pytest.raises(MissingDependencyError, match=says):
        build_chat_model(config, 0, Throttle(config))
    gateway = Gateway(config, seed=0, cache=None, ledger=None)
    with pytest.raises(MissingDependencyError, match=says):
        ask(gateway)


def test_a_missing_provider_package_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setitem(sys.modules, "langchain_groq", None)
    config = TeacherModelConfig(model="groq:llama")
    with pytest.raises(MissingDependencyError, match="pip install langchain-groq") as caught:
        build_chat_model(config, 0, Throttle(config))
    assert KEY not in str(caught.value)


def test_azure_uses_the_base_url_as_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    with OpenAIServer(rows) as server:
        found = ask(make(server.url.removesuffix("/v1"), tmp_path, model="azure_openai:mine"))
    assert len(found.valid) == 2
    assert server.headers[0]["api-key"] == KEY


def test_a_ledger_survives_a_line_cut_by_a_kill(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        ask(make(server.url, tmp_path))
        path = tmp_path / "ledger.jsonl"
        path.write_bytes(path.read_bytes() + b'{"node": "generate_da')
        assert Ledger(path).totals().calls == 1
        ask(make(server.url, tmp_path))
        assert Ledger(path).totals().calls == 2


def test_a_cache_keeps_its_first_reply_and_refuses_another_file(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "cache.sqlite")
    assert cache.get("a") is None
    cache.put("a", CachedReply([{"q": "\ud800 ü"}], 1, None))
    cache.put("a", CachedReply([], 2, 2))
    cache.close()
    assert ResponseCache(tmp_path / "cache.sqlite").get("a") == CachedReply([{"q": "\ud800 ü"}], 1, None)
    assert cache_key(a=1, b=2) == cache_key(b=2, a=1) != cache_key(a=1, b=3)
    (tmp_path / "text").write_text("not a database " * 100)
    with pytest.raises(RunFolderError, match="text"):
        ResponseCache(tmp_path / "text")


def test_a_damaged_response_cache_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    cache = ResponseCache(path)
    for number in range(200):
        cache.put(str(number), CachedReply([{"text": "x" * 500}], 1, 1))
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"damaged " * (len(data[4096:]) // 8)
    path.write_bytes(data)
    with pytest.raises(RunFolderError, match=r"response cache .*cache\.sqlite.*Delete the file"):
        ResponseCache(path).get("7")
