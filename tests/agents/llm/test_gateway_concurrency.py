"""Calls side by side: caps, event loops, cancelled calls, streaming graphs."""

import asyncio
import threading
from collections.abc import Awaitable, Iterable
from pathlib import Path

import pytest
from gateway_calls import GOOD, PROMPT, QA, make, rows
from openai_server import (
    Answer,
    OpenAIServer,
    Reply,
    Request,
    text_reply,
    tool_reply,
)

from dataenvgym.agents.llm.gateway import Gateway, Items
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import FruitlessError


async def together(asking: Iterable[Awaitable[Items[QA]]]) -> list[Items[QA] | BaseException]:
    return await asyncio.gather(*asking, return_exceptions=True)


async def many(gateway: Gateway, count: int) -> list[Items[QA]]:
    return await asyncio.gather(*(gateway.items(PROMPT, QA, node="generate_data", sample=i) for i in range(count)))


def test_calls_run_side_by_side(tmp_path: Path) -> None:
    barrier = threading.Barrier(24)  # opens only when 24 requests are in flight at once

    def reply(request: Request) -> Answer:
        if len(server.requests) > 1:
            barrier.wait(timeout=60)
        return rows(request)

    async def after_a_first(gateway: Gateway) -> list[Items[QA]]:
        await gateway.items(PROMPT, QA, node="generate_data", sample=24)
        return await many(gateway, 24)

    with OpenAIServer(reply) as server:
        found = asyncio.run(after_a_first(make(server.url, tmp_path, max_concurrency=24, timeout=90)))
    assert server.peak == 24
    assert all(len(items.valid) == 2 for items in found)
    assert Ledger(tmp_path / "ledger.jsonl").totals().calls == 25


def test_until_a_call_has_given_something_few_are_in_flight(tmp_path: Path) -> None:
    """A model that gives nothing is known after four calls, not after all that a node makes."""
    with OpenAIServer(lambda r: text_reply(r, "I would rather not.")) as server:
        gateway = make(server.url, tmp_path, max_concurrency=24, content_attempts=2)
        asking = (gateway.items(PROMPT, QA, node="generate_data", sample=i) for i in range(24))
        found = asyncio.run(together(asking))
    assert server.peak <= 4 and len(server.requests) == 8
    stopped = [one for one in found if isinstance(one, FruitlessError)]
    assert len(stopped) == 21
    assert "not valid JSON" in str(stopped[0]) and "I would rather not" in str(stopped[0])


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
