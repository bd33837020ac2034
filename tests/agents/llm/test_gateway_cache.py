"""The response cache and the ledger: a call is paid once, and a kill costs at most a line."""

from pathlib import Path

import pytest
from gateway_calls import GOOD, PROMPT, ask, make, rows
from openai_server import (
    OpenAIServer,
    tool_reply,
)

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import CachedReply, ResponseCache, cache_key
from dataenvgym.envs.errors import (
    RunFolderError,
)


def test_the_second_time_nothing_is_sent(tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        first = ask(make(server.url, tmp_path, cached=True))
        again = ask(make(server.url, tmp_path, cached=True))
        assert len(server.requests) == 1
        assert again.cached and again.attempts == 0
        assert again.valid == first.valid and again.usage == first.usage
        totals = Ledger(tmp_path / "ledger.jsonl").totals()
        assert (totals.calls, totals.cached, totals.prompt_tokens) == (1, 1, 10)
        assert Ledger(tmp_path / "ledger.jsonl").totals("other") == (0,) * 9
        # Whatever can change the reply is another entry; `cache: false` asks anew.
        other = PROMPT._replace(text="Write three rows.")
        ask(make(server.url, tmp_path, cached=True), sample=1)
        ask(make(server.url, tmp_path, cached=True), prompt=other)
        ask(make(server.url, tmp_path, cached=True, temperature=0.1))
        ask(make(server.url, tmp_path, cached=True, max_tokens=9))
        ask(make(server.url, tmp_path, cached=True, cache=False))
        assert len(server.requests) == 6


def test_a_reply_with_a_bad_row_is_paid_for_once(tmp_path: Path) -> None:
    with OpenAIServer(lambda r: tool_reply(r, [GOOD[0], {"question": "?"}])) as server:
        first, again = (ask(make(server.url, tmp_path, cached=True)) for _ in range(2))
    assert len(server.requests) == 1 and again.cached
    assert len(first.valid) == len(first.failures) == 1
    assert (again.valid, again.failures) == (first.valid, first.failures)


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
    assert ResponseCache(tmp_path / "cache.sqlite").get("a") == CachedReply([{"q": "\ud800 ü"}], 1, None, [])
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
