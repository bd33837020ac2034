"""Caps on calls, tokens and dollars: never exceeded by a request, and counted over every process of a run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_server import OpenAIServer, Request, tool_reply
from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.llm.spending import Caps, Price, Spending, cost, price_of
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.errors import BudgetReachedError, ConfigError

PROMPT = Prompt("math/rows", "You teach.", "Write rows.", "submit_rows", "0123456789abcdef")
DOLLAR = (100_000.0, 0.0)  # per million tokens: ten prompt tokens cost a dollar
tokens = st.none() | st.integers(0, 10_000)


class QA(BaseModel):
    question: str


def rows(request: Request) -> dict[str, Any]:
    return tool_reply(request, [{"question": "1+1?"}])  # 10 prompt and 5 completion tokens


def nonsense(request: Request) -> dict[str, Any]:
    return tool_reply(request, "{")


def gateway(url: str, folder: Path, caps: Caps, **settings: Any) -> Gateway:
    config = TeacherModelConfig(model="openai:test", base_url=url, timeout=10, price=DOLLAR, **settings)
    cache = ResponseCache(folder / "cache.sqlite")
    return Gateway(config, seed=0, cache=cache, ledger=Ledger(folder / "ledger.jsonl"), caps=caps)


def ask_many(asked: Gateway, samples: range) -> list[str]:
    """'rows', 'none' or 'stopped' for each of the calls, all made at the same time."""

    async def one(sample: int) -> str:
        try:
            found = await asked.items(PROMPT, QA, node="generate_data", sample=sample)
        except BudgetReachedError:
            return "stopped"
        return "rows" if found.valid else "none"

    async def go() -> list[str]:
        return list(await asyncio.gather(*map(one, samples)))

    return asyncio.run(go())


def test_no_request_goes_beyond_the_cap_on_calls_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        first = ask_many(gateway(server.url, tmp_path, Caps(calls=7)), range(20))
        assert len(server.requests) == 7 and sorted(first) == ["rows"] * 7 + ["stopped"] * 13
        again = gateway(server.url, tmp_path, Caps(calls=12))
        assert again.spending.calls == 7
        second = ask_many(again, range(20))
        assert len(server.requests) == 12
        assert second.count("rows") == 12, "those paid for come from the cache, at no cost"
        assert again.spending.reached() == "budget of 12 calls used"
    totals = Ledger(tmp_path / "ledger.jsonl").totals()
    assert (totals.attempts, totals.cached, totals.prompt_tokens, totals.cost) == (12, 7, 120, pytest.approx(12.0))


@pytest.mark.parametrize(
    ("caps", "most", "reason"),
    [(Caps(tokens=40), 3, "budget of 40 tokens used (45)"), (Caps(cost=2.5), 3, "budget of $2.5 used ($3.0000)")],
)
def test_tokens_and_dollars_stop_after_the_calls_in_hand(
    caps: Caps, most: int, reason: str, tmp_path: Path
) -> None:
    with OpenAIServer(rows) as server:
        asked = gateway(server.url, tmp_path, caps, max_concurrency=1)
        found = ask_many(asked, range(9))
        assert len(server.requests) == most and found.count("stopped") == 9 - most
    assert asked.spending.reached() == reason


def test_repeats_after_an_unusable_reply_count(tmp_path: Path) -> None:
    with OpenAIServer(nonsense) as server:
        asked = gateway(server.url, tmp_path, Caps(calls=5), content_attempts=3, max_concurrency=1)
        assert [ask_many(asked, range(n, n + 1))[0] for n in range(3)] == ["none", "none", "stopped"]
        assert len(server.requests) == 5
    assert [r.attempts for r in Ledger(tmp_path / "ledger.jsonl").records()] == [3, 2, 0]


@given(st.lists(st.tuples(tokens, tokens)), st.integers(1, 9), st.integers(1, 20_000), st.floats(0.001, 1.0))
def test_begin_stops_at_the_first_cap(replies: list[Any], calls: int, most: int, dollars: float) -> None:
    config = TeacherModelConfig(model="openai:x", price=(3.0, 5.0))
    spending = Spending([config], Caps(calls, most, dollars))
    for number, (prompt, completion) in enumerate(replies):
        before = (spending.calls, spending.tokens, spending.cost)
        full = number >= calls or before[1] >= most or before[2] >= dollars
        assert full == (spending.reached() is not None)
        if full:
            with pytest.raises(BudgetReachedError):
                spending.begin()
            assert (spending.calls, spending.tokens, spending.cost) == before
            break
        spending.begin()
        spending.add("openai:x", prompt, completion)


def test_prices_come_from_the_config_before_the_table() -> None:
    assert price_of(TeacherModelConfig(model="scripted")) == Price(0, 0)
    assert price_of(TeacherModelConfig(model="openai:gpt-4o-mini")) == Price(0.15, 0.60)
    assert price_of(TeacherModelConfig(model="openai:gpt-4o-mini", price=(1, 2))) == Price(1, 2)
    assert price_of(TeacherModelConfig(model="openai:gpt-4o-mini", base_url="http://localhost:1/v1")) is None
    assert price_of(TeacherModelConfig(model="openai:unheard-of")) is None
    assert cost(Price(1, 2), 1_000_000, 500_000) == 2.0
    assert cost(None, 1, 1) is None and cost(Price(1, 2), None, 1) is None


def test_a_cap_in_dollars_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"openai:unheard-of.*teacher\.llm\.price"):
        Gateway(
            TeacherModelConfig(model="openai:unheard-of"), seed=0, cache=None, ledger=None, caps=Caps(cost=1.0)
        )
