"""Rates and concurrency, seen from the server's side."""

import asyncio
from typing import Any

import pytest
from openai_server import Answer, OpenAIServer, Reply, Request, tool_reply
from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm import throttle
from dataenvgym.agents.llm.gateway import Gateway, Items
from dataenvgym.agents.llm.throttle import Throttle, throttle_of
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.errors import TeacherError


class Item(BaseModel):
    text: str


PROMPT = Prompt(
    "math/rows", "You teach.", "Write " * 40, "submit_rows", "0123456789abcdef"
)  # 62 tokens, estimated


def config(url: str = "http://localhost/v1", **settings: Any) -> TeacherModelConfig:
    return TeacherModelConfig(**{"model": "openai:test", "base_url": url, "timeout": 10, **settings})


async def ask(settings: TeacherModelConfig, calls: int) -> list[Items[Item] | BaseException]:
    gateway = Gateway(settings, seed=0, cache=None, ledger=None)
    asking = (gateway.items(PROMPT, Item, node="n", sample=sample) for sample in range(calls))
    return await asyncio.gather(*asking, return_exceptions=True)


async def stuck_at(server: OpenAIServer, settings: TeacherModelConfig, calls: int, sent: int) -> None:
    """Exactly `sent` requests reach the server, and then no more while the minute lasts."""
    asking = asyncio.ensure_future(ask(settings, calls))
    while len(server.requests) < sent:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert len(server.requests) == sent
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


def good(request: Request) -> Answer:
    return tool_reply(request, [{"text": "a"}])


def test_no_more_requests_a_minute_than_allowed() -> None:
    with OpenAIServer(good) as server:
        asyncio.run(stuck_at(server, config(server.url, requests_per_minute=3), calls=9, sent=3))


def test_what_is_sent_again_counts_as_a_request() -> None:
    with OpenAIServer(lambda request: Reply({}, 500, {"Retry-After": "0.01"})) as server:
        settings = config(server.url, requests_per_minute=3, transport_retries=9)
        asyncio.run(stuck_at(server, settings, calls=1, sent=3))


def test_tokens_of_prompts_and_replies_count() -> None:
    """A call is 62 estimated tokens, the server reports 15: two fit into 130, the third does not."""
    with OpenAIServer(good) as server:
        settings = config(server.url, tokens_per_minute=130, max_concurrency=1)
        asyncio.run(stuck_at(server, settings, calls=5, sent=2))


def test_a_reply_longer_than_the_rate_holds_up_the_next_call() -> None:
    def long(request: Request) -> Answer:
        reply = tool_reply(request, [{"text": "a"}])
        reply["usage"] = {"prompt_tokens": 62, "completion_tokens": 500, "total_tokens": 562}
        return reply

    with OpenAIServer(long) as server:
        settings = config(server.url, tokens_per_minute=200, max_concurrency=1)
        asyncio.run(stuck_at(server, settings, calls=3, sent=1))


@pytest.mark.parametrize("retried", [False, True])
def test_waiting_for_leave_to_send_is_no_timeout(retried: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MINUTE", 4.0)  # so a request waits twice the timeout
    turns = iter([500] if retried else [])

    def reply(request: Request) -> Answer:
        return Reply({}, 500, {"Retry-After": "0.01"}) if next(turns, None) else good(request)

    with OpenAIServer(reply) as server:
        settings = config(server.url, requests_per_minute=1, timeout=2, transport_retries=int(retried))
        found = asyncio.run(ask(settings, calls=1 if retried else 2))
    assert all(isinstance(f, Items) and f.valid for f in found)
    assert len(server.requests) == 2


def test_refusals_halve_the_calls_in_flight_once_a_wave_and_replies_bring_them_back() -> None:
    async def run() -> list[int]:
        here = Throttle(config(max_concurrency=16))
        sent = [await here.admit(0) for _ in range(8)]
        seen = [here.concurrency]
        for at in sent:  # one wave: all were sent before the first refusal
            here.refused(at)
        seen.append(here.concurrency)
        await asyncio.sleep(0.01)
        here.refused(await here.admit(0))
        seen.append(here.concurrency)
        for _ in range(10):
            await asyncio.sleep(0.001)
            here.refused(await here.admit(0))
        seen.append(here.concurrency)
        for _ in range(200):
            here.answered()
        return [*seen, here.concurrency]

    assert asyncio.run(run()) == [16, 8, 4, 1, 16]


def test_a_server_that_takes_four_at_once_is_found_out() -> None:
    """Fewer and fewer calls are sent together until none is refused, and none is lost."""

    def reply(request: Request) -> Answer:
        over = server.in_flight > 4
        return (
            Reply({}, 429, {"Retry-After": "0.05"})
            if over
            else Reply(tool_reply(request, [{"text": "a"}]), delay=0.02)
        )

    async def run() -> tuple[list[Items[Item] | BaseException], int]:
        settings = config(server.url, max_concurrency=32, transport_retries=20)
        return await ask(settings, calls=100), throttle_of(settings).concurrency

    with OpenAIServer(reply) as server:
        found, concurrency = asyncio.run(run())
    assert all(isinstance(f, Items) and f.valid for f in found)
    assert concurrency < 32


def test_a_refusal_of_another_providers_client_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other providers' clients raise is heard in the same way."""

    async def run() -> tuple[Any, int]:
        settings = config(server.url, max_concurrency=8, transport_retries=0)
        (found,) = await ask(settings, calls=1)
        return found, throttle_of(settings).concurrency

    monkeypatch.setattr("dataenvgym.agents.llm.chat_models._OPENAI", ())
    with OpenAIServer(lambda request: Reply({}, 429)) as server:
        found, concurrency = asyncio.run(run())
    assert isinstance(found, TeacherError)
    assert concurrency == 4
