"""A process killed in the middle of a fan-out: what was paid for, whole or in part, is not paid again."""

import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import kill_program
import pytest
from openai_server import Answer, OpenAIServer, Reply, Request, tool_reply

from dataenvgym.agents.llm.ledger import CallRecord, Ledger

KILLS, EACH = 20, 3
CALLS = KILLS * EACH + 3


@dataclass
class Server:
    """It answers the first `released` calls and hangs on the others; a third of its replies are cut.

    Each life has its own: a request of a killed life that is read late is not answered as one of the next.
    """

    released: int
    answered: set[int]
    again: list[int]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Answer:
        number = int(request["messages"][-1]["content"].split()[1])
        cut = number % 3 == 0
        text = '{"items": [{"text": "a"}, {"text": "b' if cut else '{"items": [{"text": "a"}]}'
        answer = tool_reply(request, text, "length" if cut else "tool_calls")
        if number >= self.released:
            return Reply(answer, delay=600)
        with self.lock:
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
    answered: set[int] = set()
    again: list[int] = []
    port = 0
    for kill in range(1, KILLS + 1):
        with OpenAIServer(Server(EACH * kill, answered, again), port) as server:
            port = server.port  # the address is a part of the cache's key
            life = processes.Process(target=kill_program.run, args=(server.url, tmp_path, CALLS, found))
            life.start()
            while len(paid(tmp_path)) < EACH * kill:
                assert life.is_alive()
                time.sleep(0.02)
            life.kill()
            life.join()
    with OpenAIServer(Server(CALLS, answered, again), port) as server:
        last = processes.Process(target=kill_program.run, args=(server.url, tmp_path, CALLS, found))
        last.start()
        assert found.get() == (CALLS, EACH * KILLS)
        last.join()
    assert again == [] and answered == set(range(CALLS))
    records = paid(tmp_path)
    assert len(records) == CALLS and sum(record.salvaged for record in records) == CALLS / 3
    assert sum(record.prompt_tokens or 0 for record in records) == 10 * CALLS, "as the server counts them"
