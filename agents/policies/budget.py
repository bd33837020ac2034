"""Sharing out whole rows: in proportion to weights, and within a budget."""

from __future__ import annotations

from collections.abc import Sequence


def split(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in whole parts in proportion to `weights`; the parts sum to it. All weights 0: even parts.

    By largest remainder, ties to the first.
    """
    if not weights:
        return []
    if sum(weights) <= 0:
        weights = [1] * len(weights)
    exact = [total * weight / sum(weights) for weight in weights]
    parts = [int(value) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def within(budget: int, counts: Sequence[int]) -> list[int]:
    """The counts, scaled down in proportion when they sum to more than the budget."""
    return list(counts) if sum(counts) <= budget else split(budget, [float(c) for c in counts])
