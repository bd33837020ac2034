"""A process killed in the middle of a fan-out: what was paid for is not paid again."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from openai_server import Answer, OpenAIServer, Reply, Request, tool_reply

CALLS, FINISHED = 40, 24
PROGRAM = """
import asyncio, sys
from pathlib import Path
from pydantic import BaseModel
from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.prompts import Prompt
from dataenvgym.agents.llm.response_cache import ResponseCache

class Item(BaseModel):
    text: str

async def main(url, folder):
    config = TeacherModelConfig(model="openai:test", base_url=url, max_concurrency=40, timeout=60)
    cache, ledger = ResponseCache(folder / "c.sqlite"), Ledger(folder / "ledger.jsonl")
    gateway = Gateway(config, seed=0, cache=cache, ledger=ledger)
    prompts = [Prompt("math/rows", "", f"call {n}", "submit_rows", str(n)) for n in range(40)]
    found = await asyncio.gather(*(gateway.items(p, Item, node="generate_data") for p in prompts))
    print(sum(bool(f.valid) for f in found), sum(f.cached for f in found))

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


def test_a_kill_in_a_fan_out_sends_no_finished_call_again(tmp_path: Path) -> None:
    asked: Counter[int] = Counter()
    killed, lock = threading.Event(), threading.Lock()

    def reply(request: Request) -> Answer:
        number = int(request["messages"][-1]["content"].split()[1])
        with lock:
            asked[number] += 1
        answer = tool_reply(request, [{"text": "a"}])
        return answer if number < FINISHED or killed.is_set() else Reply(answer, delay=30)

    environment = {**os.environ, "OPENAI_API_KEY": "sk-none"}
    with OpenAIServer(reply) as server:
        command = [sys.executable, "-c", PROGRAM, server.url, str(tmp_path)]
        first = subprocess.Popen(command, env=environment)
        ledger = tmp_path / "ledger.jsonl"
        while not ledger.exists() or len(ledger.read_text().splitlines()) < FINISHED or len(asked) < CALLS:
            assert first.poll() is None
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
        killed.set()
        second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert second.stdout.split() == [str(CALLS), str(FINISHED)]
    assert all(asked[n] == (1 if n < FINISHED else 2) for n in range(CALLS))
