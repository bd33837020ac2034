"""The gateway's own time: calls of a plan against a server with a second of latency, with none, and the cache.

    python benchmarks/gateway.py [--latency 1.0]

Starts the test suite's OpenAI-compatible server on loopback, in a process of its own. The ideal is
ceil(calls / concurrency) x latency, which a client that does nothing else would need. Prints a table and, as its
last line, one JSON object.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.prompts import Prompt

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "agents" / "llm"))
from openai_server import OpenAIServer, Reply, tool_reply

CONCURRENCY = 16
PLANS = ((120, 12), (400, 20))  # rows in calls


class QA(BaseModel):
    question: str
    answer: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=1.0)
    latency = parser.parse_args().latency
    table = Table("what", "seconds", "ideal", "ratio")
    figures: dict[str, float] = {}
    for rows, calls in PLANS:
        with tempfile.TemporaryDirectory() as folder, server(rows // calls, latency) as url:
            seconds = timed(gateway(url, Path(folder)), calls, rows)
        ideal = math.ceil(calls / CONCURRENCY) * latency
        table.add_row(f"{rows} rows in {calls} calls", f"{seconds:.2f}", f"{ideal:.2f}", f"{seconds / ideal:.3f}")
        figures[f"rows_{rows}_ratio_to_ideal"] = round(seconds / ideal, 4)
    with tempfile.TemporaryDirectory() as folder, server(10, 0.0) as url:
        asked = gateway(url, Path(folder))
        fresh = timed(asked, 1000, 10_000)
        again = timed(asked, 1000, 10_000)
    table.add_row("1,000 calls without latency", f"{fresh:.2f}", "-", f"{1000 / fresh:.0f} calls per second")
    table.add_row("the same from the cache", f"{again:.2f}", "-", f"{again / fresh:.3f} of asking")
    figures |= {
        "calls_per_second": round(1000 / fresh, 1),
        "cache_seconds_1000_hits": round(again, 3),
        "cache_ratio_to_asking": round(again / fresh, 4),
    }
    Console().print(table)
    print(json.dumps(figures))


def replies(rows: int, latency: float):  # type: ignore[no-untyped-def]
    """A server's answer: so many rows, after the latency."""
    items = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(rows)]
    return lambda request: Reply(tool_reply(request, items), delay=latency)


@contextmanager
def server(rows: int, latency: float) -> Iterator[str]:
    """The address of such a server; a process of its own, so that its work is not counted as the gateway's."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs, rows, latency))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


def serve(told: Connection, rows: int, latency: float) -> None:
    """Serve until the other end closes."""
    with OpenAIServer(replies(rows, latency)) as running:
        told.send(running.url)
        with suppress(EOFError):
            told.recv()


def gateway(url: str, folder: Path) -> Gateway:
    config = TeacherModelConfig(model="openai:test", base_url=url, max_concurrency=CONCURRENCY)
    cache = ResponseCache(folder / "cache.sqlite")
    return Gateway(config, seed=0, cache=cache, ledger=Ledger(folder / "ledger.jsonl"))


def timed(asked: Gateway, calls: int, rows: int) -> float:
    """Seconds for so many calls at the same time; the client is built before, as a run does on its start."""
    prompt = Prompt("math/rows", "You teach.", "Write rows.", "submit_rows", "0" * 16)

    async def go() -> float:
        await asked.ready()
        began = time.perf_counter()
        found = await asyncio.gather(*(asked.items(prompt, QA, node="bench", sample=n) for n in range(calls)))
        seconds = time.perf_counter() - began
        got = sum(len(items.valid) for items in found)
        assert got == rows, f"{got} rows of {rows}"
        await asked.aclose()
        return seconds

    return asyncio.run(go())


if __name__ == "__main__":
    main()
