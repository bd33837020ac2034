"""A process killed in the middle of a fan-out: what was paid for, whole or in part, is not paid again."""

import multiprocessing
import threading
import time
from pathlib import Path

import kill_program
import pytest
from openai_server import Answer, OpenAIServer, Reply, Request, tool_reply

from dataenvgym.agents.llm.ledger import CallRecord, Ledger

KILLS, EACH = 20, 3
CALLS = KILLS * EACH + 3


class Server:
    """It answers the first `released` calls and hangs on the others; a third of its replies are cut."""

    def __init__(self) -> None:
        self.released = EACH
        self.answered: set[int] = set()
        self.again: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        number = int(request["messages"][-1]["content"].split()[1])
        cut = number % 3 == 0
        text = '{"items": [{"text": "a"}, {"text": "b' if cut else '{"items": [{"text": "a"}]}'
        answer = tool_reply(request, text, "length" if cut else "tool_calls")
        with self._lock:
            if number >= self.released:
                return Reply(answer, delay=600)
            (self.again.append if number in self.answered else self.answered.add)(number)
            return answer


def paid(folder: Path) -> list[CallRecord]:
    return [record for record in Ledger(folder / "ledger.jsonl").records() if not record.cached]


def test_twenty_kills_ask_for_no_reply_again_that_had_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each life gets three more replies, then hangs and is killed; the last one gets all."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    processes = multiprocessing.get_context("forkserver")  # the imports are made once for all lives
    processes.set_forkserver_preload(["langchain_openai", "dataenvgym.agents.llm.gateway"])
    found = processes.SimpleQueue()
    reply = Server()
    with OpenAIServer(reply) as server:
        for kill in range(1, KILLS + 1):
            life = processes.Process(target=kill_program.run, args=(server.url, tmp_path, CALLS, found))
            life.start()
            while len(paid(tmp_path)) < EACH * kill:
                assert life.is_alive()
                time.sleep(0.02)
            life.kill()
            life.join()
            reply.released += EACH
        reply.released = CALLS
        last = processes.Process(target=kill_program.run, args=(server.url, tmp_path, CALLS, found))
        last.start()
        assert found.get() == (CALLS, EACH * KILLS)
        last.join()
    assert reply.again == [] and reply.answered == set(range(CALLS))
    records = paid(tmp_path)
    assert len(records) == CALLS and sum(record.salvaged for record in records) == CALLS / 3
    assert sum(record.prompt_tokens or 0 for record in records) == 10 * CALLS, "as the server counts them"
