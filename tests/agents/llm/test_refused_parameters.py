"""A parameter that a model refuses is left out from then on; without tools it is asked in another way."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_calls import GOOD, PROMPT, QA, ask, make
from openai_server import Answer, OpenAIServer, Reply, Request, text_reply, tool_reply

from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.errors import MissingDependencyError, TeacherError


def refuses(name: str, says: str, then: Callable[[Request], Answer], **error: Any) -> Callable[[Request], Answer]:
    def reply(request: Request) -> Answer:
        return Reply({"error": {"message": says, **error}}, 400) if name in request else then(request)

    return reply


def rows(request: Request) -> Answer:
    return tool_reply(request, GOOD) if "tools" in request else text_reply(request, json.dumps({"items": GOOD}))


REFUSALS = {
    "temperature": "Unsupported value: 'temperature' does not support 0.7 with this model.",
    "max_completion_tokens": "Unrecognized request argument supplied: max_completion_tokens",
    "seed": "Extra inputs are not permitted: seed",
    "tool_choice": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_refusal_names_is_left_out_from_then_on(name: str, tmp_path: Path) -> None:
    with OpenAIServer(refuses(name, REFUSALS[name], rows)) as server:
        gateway = make(server.url, tmp_path, cache=False)
        assert len(ask(gateway).valid) == 2 and len(server.requests) == 2
        assert len(ask(gateway, sample=1).valid) == 2 and len(server.requests) == 3
        assert gateway.left_out == [name]
        again = make(server.url, tmp_path, cache=False)  # another process of the run knows it from the ledger
        assert len(ask(again, sample=2).valid) == 2 and len(server.requests) == 4
    first, second, _ = Ledger(tmp_path / "ledger.jsonl").records()
    assert (first.attempts, second.attempts) == (2, 1) and second.left_out == [name]


def test_the_length_is_sent_by_its_older_name_where_the_newer_is_refused(tmp_path: Path) -> None:
    with OpenAIServer(refuses("max_completion_tokens", "unknown: max_completion_tokens", rows)) as server:
        ask(make(server.url, tmp_path, max_tokens=99))
    assert server.requests[-1]["max_tokens"] == 99 and "max_completion_tokens" not in server.requests[-1]


def test_the_parameter_that_the_server_names_as_such_counts(tmp_path: Path) -> None:
    says = "This value is not allowed together with a seed."
    with OpenAIServer(refuses("temperature", says, rows, param="temperature")) as server:
        gateway = make(server.url, tmp_path)
        ask(gateway)
    assert gateway.left_out == ["temperature"]


def test_without_tools_a_schema_is_sent_and_without_that_it_stands_in_the_prompt(tmp_path: Path) -> None:
    no_schema = refuses("response_format", "response_format is not supported", rows)
    with OpenAIServer(refuses("tools", "this model does not support tools", no_schema)) as server:
        gateway = make(server.url, tmp_path)
        assert len(ask(gateway).valid) == 2
    with_tools, with_schema, plain = server.requests
    assert "tools" in with_tools and gateway.left_out == ["tools", "json_schema"]
    schema = with_schema["response_format"]["json_schema"]["schema"]
    assert "tools" not in with_schema and set(schema["properties"]) == {"items"}
    assert "response_format" not in plain and '"question"' in plain["messages"][-1]["content"]


@pytest.mark.parametrize(("way", "sent"), [("tools", "tools"), ("json_schema", "response_format"), ("text", None)])
def test_the_way_can_be_chosen(way: str, sent: str | None, tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        assert len(ask(make(server.url, tmp_path, structured=way)).valid) == 2
    assert [name for name in ("tools", "response_format") if name in server.requests[0]] == [sent] * (
        sent is not None
    )


def test_a_chosen_way_that_is_refused_is_an_error_that_says_so(tmp_path: Path) -> None:
    with (
        OpenAIServer(refuses("tools", "this model does not support tools", rows)) as server,
        pytest.raises(TeacherError, match=r"`structured`.*does not support tools"),
    ):
        ask(make(server.url, tmp_path, structured="tools"))
    assert len(server.requests) == 1


def test_a_refusal_that_names_nothing_of_the_request_ends_the_run(tmp_path: Path) -> None:
    with (
        OpenAIServer(lambda r: Reply({"error": {"message": "bad request"}}, 400)) as server,
        pytest.raises(TeacherError, match="bad request"),
    ):
        ask(make(server.url, tmp_path))
    assert len(server.requests) == 1


def test_further_options_go_through_and_secrets_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {
        "reasoning_effort": "low",
        "extra_body": {"top_k": 20},
        "headers": {"X-Team": "$TEAM_TOKEN", "X-Plain": "as it stands"},
    }
    with OpenAIServer(rows) as server:
        with pytest.raises(MissingDependencyError, match="TEAM_TOKEN"):
            ask(make(server.url, tmp_path, options=options))
        monkeypatch.setenv("TEAM_TOKEN", "secret-1")
        ask(make(server.url, tmp_path, options=options))
    (request,), (headers,) = server.requests, server.headers
    assert request["reasoning_effort"] == "low" and request["top_k"] == 20
    assert headers["x-team"] == "secret-1" and headers["x-plain"] == "as it stands"
    assert "secret-1" not in (tmp_path / "ledger.jsonl").read_text()


@pytest.mark.parametrize(
    ("model", "tokens"), [("openai:gpt-4o-mini", 4096), ("openai:o3-mini", 32768), ("openai:qwen3-8b", 32768)]
)
def test_models_that_think_have_room_for_it(model: str, tokens: int, tmp_path: Path) -> None:
    with OpenAIServer(rows) as server:
        ask(make(server.url, tmp_path, model=model))
    assert server.requests[0]["max_completion_tokens"] == tokens


def test_a_redirect_is_not_followed_and_says_where_it_leads(tmp_path: Path) -> None:
    with OpenAIServer(rows) as elsewhere, OpenAIServer(lambda r: moved) as server:
        moved = Reply({}, 307, {"Location": f"{elsewhere.url}/chat/completions"})
        with pytest.raises(TeacherError, match=f"sends requests on to {elsewhere.url}"):
            ask(make(server.url, tmp_path))
    assert len(server.requests) == 1 and elsewhere.requests == []


def test_a_reply_that_drips_is_given_up_after_the_timeout(tmp_path: Path) -> None:
    """Each byte comes in time for the client, whose limit is for one read; ours is for the request."""
    import http.server
    import threading
    import time

    class Drip(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            sent.append(1)
            self.send_response(200)
            self.end_headers()
            while not done.is_set():
                try:
                    self.wfile.write(b" ")
                    self.wfile.flush()
                except OSError:
                    return
                time.sleep(0.05)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    sent: list[int] = []
    done = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TeacherError, match="no answer within 1 s, after 2 requests"):
            ask(make(f"http://127.0.0.1:{server.server_port}/v1", tmp_path, timeout=1, transport_retries=1))
    finally:
        done.set()
        server.shutdown()
        server.server_close()
    assert len(sent) == 2


def test_calls_never_exceed_their_cap_whatever_is_sent_again(tmp_path: Path) -> None:
    from dataenvgym.agents.config import TeacherModelConfig
    from dataenvgym.agents.llm.gateway import Gateway
    from dataenvgym.agents.llm.spending import Caps

    async def all_of_them() -> None:
        asking = (gateway.items(PROMPT, QA, node="n", sample=sample) for sample in range(12))
        await asyncio.gather(*asking, return_exceptions=True)

    busy = Reply({"error": {"message": "busy"}}, 503, {"Retry-After": "0.01"})
    with OpenAIServer(lambda r: busy) as server:
        config = TeacherModelConfig(model="openai:test", base_url=server.url, transport_retries=5)
        ledger = Ledger(tmp_path / "ledger.jsonl")
        gateway = Gateway(config, seed=0, cache=None, ledger=ledger, caps=Caps(calls=10))
        asyncio.run(all_of_them())
    assert len(server.requests) == gateway.spending.calls == sum(r.attempts for r in ledger.records()) == 10
