"""The gateway's tests share one question, a reply to it, and a gateway to a server."""

import asyncio
from pathlib import Path
from typing import Any

from openai_server import (
    Answer,
    Request,
    tool_reply,
)
from pydantic import BaseModel

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.gateway import Gateway, Items
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.agents.llm.response_cache import ResponseCache
from dataenvgym.agents.prompts import Prompt

KEY = "sk-secret-0123456789abcdef"


class QA(BaseModel):
    question: str
    answer: str


PROMPT = Prompt("math/rows", "You teach.", "Write two rows.", "submit_rows", "0123456789abcdef")


GOOD = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]


def rows(request: Request) -> Answer:
    return tool_reply(request, GOOD)


def make(url: str, tmp_path: Path, *, cached: bool = False, **settings: Any) -> Gateway:
    config = TeacherModelConfig(**{"model": "openai:test", "base_url": url, "timeout": 10, **settings})
    cache = ResponseCache(tmp_path / "cache.sqlite") if cached else None
    return Gateway(config, seed=0, cache=cache, ledger=Ledger(tmp_path / "ledger.jsonl"))


def ask(gateway: Gateway, sample: int = 0, prompt: Prompt = PROMPT) -> Items[QA]:
    return asyncio.run(gateway.items(prompt, QA, node="generate_data", iteration=3, sample=sample))
