"""What the kill tests run and kill: many calls at the same time, with a cache and a ledger in a folder."""

import asyncio
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.prompts import Prompt


class Item(BaseModel):
    text: str


def run(url: str, folder: Path, calls: int, found: "SimpleQueue[tuple[int, int]]") -> None:
    """Make the calls; put how many gave items, and how many of those came from the cache."""
    found.put(asyncio.run(_run(url, folder, calls)))


async def _run(url: str, folder: Path, calls: int) -> tuple[int, int]:
    config = TeacherModelConfig(model="openai:test", base_url=url, max_concurrency=80, timeout=600)
    cache, ledger = ResponseCache(folder / "c.sqlite"), Ledger(folder / "ledger.jsonl")
    gateway = Gateway(config, seed=0, cache=cache, ledger=ledger)
    prompts = [Prompt("math/rows", "", f"call {n}", "submit_rows", str(n)) for n in range(calls)]
    found = await asyncio.gather(*(gateway.items(p, Item, node="generate_data") for p in prompts))
    return sum(bool(one.valid) for one in found), sum(one.cached for one in found)
