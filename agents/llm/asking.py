"""What the nodes need to ask a model: the gateway, the domain and where the prompts lie."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.llm.gateway import Gateway, Items
from dataenvgym.agents.prompts import Prompt, load_prompt
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.types import Progress

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


async def all_at_once(calls: Sequence[Coroutine[Any, Any, T]], progress: Progress | None = None) -> list[T]:
    """The results of the calls, in order; `progress` is told whenever one has ended."""
    done = 0

    async def counted(call: Coroutine[Any, Any, T]) -> T:
        nonlocal done
        result = await call
        done += 1
        if progress:
            progress(done, len(calls))
        return result

    return await asyncio.gather(*map(counted, calls))


class Asker(NamedTuple):
    """One node's way to the chat model in one iteration."""

    gateway: Gateway
    domain: Domain
    config: TeacherConfig
    node: str
    iteration: int

    def prompt(self, name: str, **variables: Any) -> Prompt:
        """The domain's template `name`, rendered; the user's folder overlays the packaged one."""
        overlay = Path(self.config.prompts) if self.config.prompts else None
        return load_prompt(self.domain.name, name, overlay).render(**variables)

    async def items(self, prompt: Prompt, item: type[M], sample: int = 0) -> Items[M]:
        """Ask for items of that schema (see Gateway.items)."""
        return await self.gateway.items(prompt, item, node=self.node, iteration=self.iteration, sample=sample)
