"""An episode whose teacher is a model behind an OpenAI-compatible server on loopback."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_server import OpenAIServer, Reply, scripted_replies

from dataenvgym.runs.folder import open_run
from dataenvgym.runs.run import resume

Cli = Callable[..., tuple[int, str, str]]
Small = Callable[..., list[str]]

KEY = "sk-proj-1234567890abcdef-secret"
AT_ONCE = 20


def held_back(at_once: int) -> Callable[[dict[str, Any]], Any]:
    """Scripted replies; those with rows wait until so many requests are in flight at the same time.

    The first are answered at once: until one has given a row, no more than four are sent.
    """
    scripted, lock, enough = scripted_replies(), threading.Lock(), threading.Event()
    waiting = []

    def reply(request: dict[str, Any]) -> Any:
        if request["tools"][0]["function"]["name"] == "submit_rows":
            with lock:
                waiting.append(1)
                first = len(waiting) <= 4
                if len(waiting) >= at_once + 4:
                    enough.set()
            if not first:
                enough.wait(120)
        return scripted(request)

    return reply


def settings_for(server: OpenAIServer, **more: object) -> dict[str, object]:
    return {
        "teacher.llm.model": "openai:anything",
        "teacher.llm.base_url": server.url,
        "budget.iterations": 1,
        "teacher.llm.timeout": 300,
        **more,
    }


def test_an_episode_over_http(cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run_dir = tmp_path / "run"
    with OpenAIServer(held_back(AT_ONCE)) as server:
        changes = settings_for(server, **{"teacher.llm.max_concurrency": 24, "teacher.rows_per_call": 1})
        status, out, err = cli("run", *small(**changes, **{"budget.rows_per_iteration": 24}), "--out", run_dir)
    assert (status, err) == (0, "")
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["teacher"]["model"] == "openai:anything"
    assert summary["rows_accepted"] == 24
    assert summary["calls"] == len(server.requests) >= 24
    assert summary["tokens"] == {"prompt": 10 * summary["calls"], "completion": 5 * summary["calls"]}
    assert server.peak >= AT_ONCE, "calls are in flight at the same time"
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert {request["model"] for request in server.requests} == {"anything"}
    # The key is nowhere that a run is shown or shared from.
    assert KEY not in out + err
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_refused_key_is_not_shown(
    cli: Cli, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may repeat the key in its refusal. The run can go on once the key is fixed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run_dir = tmp_path / "run"
    said = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    answers: list[Any] = [Reply(said, status=401)]
    scripted = scripted_replies()
    with OpenAIServer(lambda request: answers[0] or scripted(request)) as server:
        status, out, err = cli("run", *small(**settings_for(server)), "--out", run_dir)
        assert status == 1
        assert err.startswith("error: ")
        assert "refused the key (status 401)" in err
        written = b"".join(path.read_bytes() for path in run_dir.rglob("*") if path.is_file())
        assert KEY not in out + err
        assert KEY.encode() not in written
        answers[0] = None
        outcome = resume(run_dir)
    assert outcome.summary is not None
    assert outcome.summary["rows_accepted"] == 12


def test_a_server_that_is_not_there(cli: Cli, small: Small, tmp_path: Path) -> None:
    with OpenAIServer(scripted_replies()) as server:
        url = server.url
    changes = {**settings_for(server), "teacher.llm.transport_retries": 0}
    status, _, err = cli("run", *small(**changes), "--out", tmp_path / "run")
    assert status == 1
    assert err.startswith("error: ")
    assert url in err
    assert open_run(tmp_path / "run").teacher.llm.base_url == url, "the run is there, to go on with"
