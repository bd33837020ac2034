"""The cost of the teacher's model so far, and the caps at which an episode stops calling it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.ledger import CallRecord
from dataenvgym.envs.errors import BudgetReachedError, ConfigError
from dataenvgym.envs.text import counted


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float


# List prices as looked up in November 2026; `teacher.llm.price` overrides them and serves for every other model.
PRICES: dict[str, Price] = {
    "scripted": Price(0.0, 0.0),
    "openai:gpt-4o": Price(2.50, 10.00),
    "openai:gpt-4o-mini": Price(0.15, 0.60),
    "openai:gpt-4.1": Price(2.00, 8.00),
    "openai:gpt-4.1-mini": Price(0.40, 1.60),
    "openai:gpt-4.1-nano": Price(0.10, 0.40),
    "anthropic:claude-sonnet-4-5": Price(3.00, 15.00),
    "anthropic:claude-haiku-4-5": Price(1.00, 5.00),
}


class Caps(NamedTuple):
    """Most requests, tokens (prompt and completion) and US dollars of an episode; None: no cap."""

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None


UNCAPPED = Caps()


def price_of(config: TeacherModelConfig) -> Price | None:
    """Look up the model's price in the config or the table; None when neither has it.

    The table's prices are those of the provider itself: with a `base_url` only the config's price counts.
    """
    if config.price is not None:
        return Price(*config.price)
    return None if config.base_url else PRICES.get(config.model)


def cost(price: Price | None, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
    """Compute the cost in US dollars; None when the price or the tokens are unknown, unless the price is zero."""
    if price == Price(0.0, 0.0):
        return 0.0
    if price is None or prompt_tokens is None or completion_tokens is None:
        return None
    return (price.prompt * prompt_tokens + price.completion * completion_tokens) / 1e6


class Spending:
    """Counts the requests, tokens and dollars of a run, including those of its earlier processes.

    Not thread-safe: all counting happens on the event loop of the run.
    """

    def __init__(self, models: Sequence[TeacherModelConfig], caps: Caps, spent: Iterable[CallRecord] = ()) -> None:
        """Count the spending in the ledger. `models`: all that the run may ask; the caps hold for their sum.

        Raises:
            ConfigError: a cap in dollars on a model with unknown pricing.
        """
        self._caps = caps
        self._prices = {config.model: price_of(config) for config in models}
        unknown = [model for model, price in self._prices.items() if price is None]
        if caps.cost is not None and unknown:
            raise ConfigError(
                f"budget.max_cost: the price of {unknown[0]!r} is not known, so its cost cannot be capped. Give "
                "it in US dollars per million prompt and completion tokens: --set teacher.llm.price=[0.15,0.6]"
            )
        self.calls, self.tokens, self.cost = 0, 0, 0.0
        for record in spent:
            self.calls += record.attempts
            if not record.cached:
                self.add(record.model, record.prompt_tokens, record.completion_tokens)

    def reached(self) -> str | None:
        """Name the cap that is used up, as a reason to stop; None while a request is allowed."""
        caps = self._caps
        if caps.calls is not None and self.calls >= caps.calls:
            return f"budget of {counted(caps.calls, 'call')} used"
        if caps.tokens is not None and self.tokens >= caps.tokens:
            return f"budget of {caps.tokens} tokens used ({self.tokens})"
        if caps.cost is not None and self.cost >= caps.cost:
            return f"budget of ${caps.cost:g} used (${self.cost:.4f})"
        return None

    def begin(self) -> None:
        """Count one request before it is sent.

        Raises:
            BudgetReachedError: a cap is used up; nothing was counted.
        """
        reason = self.reached()
        if reason is not None:
            raise BudgetReachedError(reason)
        self.calls += 1

    def add(self, model: str, prompt_tokens: int | None, completion_tokens: int | None) -> None:
        """Count the tokens of a model's reply, reported or estimated."""
        self.tokens += (prompt_tokens or 0) + (completion_tokens or 0)
        self.cost += cost(self._prices.get(model), prompt_tokens or 0, completion_tokens or 0) or 0.0
