"""A thousand calls to a faulty server over HTTP: nothing is lost, nothing invented, every shortfall is told."""

import asyncio
import json
import random
import re
import threading
from collections import Counter
from pathlib import Path

import pytest
from openai_server import Answer, OpenAIServer, Reply, Request, tool_reply

from dataenvgym.agents.config import TeacherConfig, TeacherModelConfig
from dataenvgym.agents.data_generator import generate
from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.types import DataRequest

CALLS, ROWS = 1000, 3
FAULTS = {"429": 0.10, "500": 0.05, "malformed": 0.05, "truncated": 0.05, "empty": 0.02, "hanging": 0.01}
NOTHING = Feedback(
    iteration=1,
    structure="skill_list",
    state=True,
    budget=CALLS * ROWS,
    accuracy=None,
    n=0,
    correct=0,
    errors=[],
    skills=[],
    history=[],
    exemplars=[],
)


class Faulty:
    """Replies with faults at the shares of FAULTS, decided by which call it is and how often it came."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.seen: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        found = re.search(r"Skill: skill (\d+)", str(request["messages"][-1]["content"]))
        assert found is not None
        number = int(found[1])
        with self._lock:
            self.seen[number] += 1
            turn = self.seen[number]
            rng = random.Random(f"{number}/{turn}")
            fault = rng.choices([*FAULTS, "none"], [*FAULTS.values(), 1 - sum(FAULTS.values())])[0]
            self.faults[fault] += 1
            rows = [
                {
                    "question": f"Call {number}, turn {turn}: what is {n} + 1?",
                    "solution": "It is.",
                    "answer": str(n),
                }
                for n in range(ROWS)
            ]
            text = json.dumps({"items": rows})
            if fault == "none":
                self.sent += [row["question"] for row in rows]
            elif fault == "truncated":  # within the last row: those before it are whole
                self.sent += [row["question"] for row in rows[:-1]]
        return {
            "none": tool_reply(request, rows),
            "429": Reply({"error": {"message": "slow down"}}, 429, {"Retry-After": "0.01"}),
            "500": Reply({"error": {"message": "oops"}}, 500, {"Retry-After": "0.01"}),
            "malformed": tool_reply(request, "][ not JSON"),
            "truncated": tool_reply(request, text[: text.rindex("what is")], "length"),
            "empty": tool_reply(request, []),
            "hanging": Reply(tool_reply(request, rows), delay=9.0),
        }[fault]


@pytest.mark.slow
def test_a_thousand_calls_to_a_faulty_server(tmp_path: Path) -> None:
    faulty, ledger = Faulty(), Ledger(tmp_path / "ledger.jsonl")
    requests = [DataRequest(id=f"r{n}", skill=f"skill {n}", count=ROWS) for n in range(CALLS)]
    with OpenAIServer(faulty) as server:
        model = TeacherModelConfig(model="openai:test", base_url=server.url, timeout=5, max_concurrency=32)
        client = TeacherClient(
            Gateway(model, seed=0, cache=None, ledger=ledger), MATH, TeacherConfig(llm=model), "g", 1
        )
        found = asyncio.run(generate(requests, NOTHING, client, round_number=0, written=[], seed=0))
    assert all(faulty.faults[fault] > 0 for fault in FAULTS), "each kind of fault was met"
    assert sorted(row.question for row in found.rows) == sorted(faulty.sent)
    got = Counter(row.provenance.request for row in found.rows)
    told = {
        failed.row["request"] if "request" in failed.row else failed.row["provenance"]["request"]
        for failed in found.failed
    }
    assert {r.id for r in requests if got[r.id] < ROWS} <= told
    assert all(failed.verdicts[0].reason for failed in found.failed)
    most = model.content_attempts * (model.transport_retries + 1)
    assert sum(r.attempts for r in ledger.records()) == len(server.requests), "each request is counted"
    assert len(server.requests) <= CALLS * most and max(faulty.seen.values()) <= most
    records = list(ledger.records())
    assert len(records) == CALLS and sum(r.valid for r in records) == len(found.rows)
    assert max(r.attempts for r in records) <= most
    assert len(found.rows) > 0.95 * CALLS * ROWS
