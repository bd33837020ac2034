"""What the nodes need to ask a model: the gateway, the domain and where the prompts lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.gateway import Gateway, Items
from dataenvgym.agents.prompts import Prompt, load_prompt
from dataenvgym.envs.domain import Domain

M = TypeVar("M", bound=BaseModel)


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
