"""How a node calls the chat model: through the gateway, with the prompts of the domain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
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


async def gather_with_progress(
    calls: Sequence[Coroutine[Any, Any, T]], progress: Progress | None = None
) -> list[T]:
    """Run the calls concurrently and return their results in order; report each finished call to `progress`.

    The first error is raised when all calls have ended.
    """
    done = 0

    async def counted(call: Coroutine[Any, Any, T]) -> T:
        nonlocal done
        result = await call
        done += 1
        if progress:
            progress(done, len(calls))
        return result

    results = await asyncio.gather(*map(counted, calls), return_exceptions=True)  # what was paid comes in
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class TeacherClient(NamedTuple):
    """Renders prompts and calls the chat model, for one node in one iteration."""

    gateway: Gateway
    domain: Domain
    config: TeacherConfig
    node: str
    iteration: int

    def prompt(self, name: str, **variables: Any) -> Prompt:
        """Render the domain's template `name`; the user's folder overlays the packaged one."""
        overlay = Path(self.config.prompts) if self.config.prompts else None
        return load_prompt(self.domain.name, name, overlay).render(**variables)

    async def items(
        self,
        prompt: Prompt,
        item: type[M],
        sample: int = 0,
        useless: Callable[[list[M]], str | None] | None = None,
    ) -> Items[M]:
        """Request items of that schema (see Gateway.items)."""
        node, iteration = self.node, self.iteration
        return await self.gateway.items(
            prompt, item, node=node, iteration=iteration, sample=sample, useless=useless
        )
