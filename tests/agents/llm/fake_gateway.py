"""A gateway whose replies a test writes itself; it keeps the prompts that it was asked."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel

from dataenvgym.agents.config import TeacherConfig
from dataenvgym.agents.llm.asking import TeacherClient
from dataenvgym.agents.llm.gateway import Gateway, Items, Usage
from dataenvgym.agents.llm.reply import ItemFailure
from dataenvgym.agents.prompts import Prompt
from dataenvgym.envs.domains.math.domain import MATH


class Request(NamedTuple):
    prompt: Prompt
    item: type[BaseModel]
    sample: int


class FakeGateway:
    """`reply(asked)` gives the values of a reply; what does not validate against the schema is a failure."""

    def __init__(self, reply: Callable[[Request], list[Any]], config: TeacherConfig) -> None:
        self.reply, self.config = reply, config.llm
        self.asked: list[Request] = []

    async def items(
        self,
        prompt: Prompt,
        item: type[BaseModel],
        *,
        node: str,
        iteration: int = 0,
        sample: int = 0,
        useless: Callable[[list[Any]], str | None] | None = None,
    ) -> Items[Any]:
        self.asked.append(Request(prompt, item, sample))
        valid, failures = [], []
        for value in self.reply(self.asked[-1]):
            try:
                valid.append(item.model_validate(value))
            except ValueError as error:
                failures.append(ItemFailure(str(value), str(error)))
        if valid and useless and (reason := useless(valid)):
            valid, failures = [], [*failures, ItemFailure(str(valid), reason)]
        return Items(valid, failures, 1, False, Usage())


def fake_client(
    reply: Callable[[Request], list[Any]], config: TeacherConfig | None = None
) -> tuple[TeacherClient, FakeGateway]:
    config = config or TeacherConfig()
    gateway = FakeGateway(reply, config)
    return TeacherClient(gateway, MATH, config, "test", 1), gateway  # type: ignore[arg-type]


def scripted_client(config: TeacherConfig | None = None) -> TeacherClient:
    config = config or TeacherConfig()
    return TeacherClient(Gateway(config.llm, seed=0, cache=None, ledger=None), MATH, config, "test", 1)
