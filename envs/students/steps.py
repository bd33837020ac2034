"""The parts of a training step: encoded rows, batches, and the learning rate of each step."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dataenvgym.envs.config import TrainConfig

if TYPE_CHECKING:
    import torch

# Batches are cut from pools of this many batches sorted by length: little padding, still shuffled.
POOL = 8


class Result(NamedTuple):
    """The losses and misses of a step, not yet read from the GPU.

    `losses`: their sum is the mean loss over the learnt tokens. `wrong`: for each part of the step, its rows and
    the number of tokens per row that the model would have written differently [rows].
    """

    losses: list[torch.Tensor]
    wrong: list[tuple[range, torch.Tensor]]

    def loss(self) -> float:
        """Return the mean loss over the learnt tokens of all rows."""
        return sum(float(loss) for loss in self.losses)

    def missed(self) -> set[int]:
        """Return the positions of the rows with a token that the model would have written differently."""
        return {
            row for part, counts in self.wrong for row, count in zip(part, counts.tolist(), strict=True) if count
        }


class Step(NamedTuple):
    """A finished step: its number from 1, the indices of its rows, the count of their tokens."""

    number: int
    rows: list[int]
    tokens: int
    result: Result


class EncodedRow(NamedTuple):
    """A training row as token ids; the first `prompt` of them are not learnt. `cut`: the row was longer."""

    ids: list[int]
    prompt: int
    cut: bool = False


def batches(rows: Sequence[EncodedRow], size: int, seed: int) -> Iterator[list[int]]:
    """Yield the indices of the rows, each once, in shuffled batches of similar length."""
    rng = random.Random(seed)
    order = list(range(len(rows)))
    rng.shuffle(order)
    cut: list[list[int]] = []
    for start in range(0, len(order), size * POOL):
        pool = sorted(order[start : start + size * POOL], key=lambda i: len(rows[i].ids))
        cut += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(cut)
    yield from cut


def schedule(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """Return the learning rate as a factor of its peak: linear warm-up, then cosine to zero."""

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / (config.warmup_steps + 1)
        share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))

    return factor


def parts(lengths: Sequence[int], rows: int, tokens: int | None) -> Iterator[range]:
    """Yield runs of consecutive rows, of at most `rows` rows and `tokens` tokens (but at least one row)."""
    start = 0
    for end in range(1, len(lengths) + 1):
        full = end - start == rows
        if end == len(lengths) or full or (tokens is not None and sum(lengths[start : end + 1]) > tokens):
            yield range(start, end)
            start = end
