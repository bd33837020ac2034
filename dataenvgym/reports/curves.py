"""Curves of accuracy over training rows, in pixels, for the pages that draw them (plot.jinja)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Interval

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 280, 48, 690, 14, 240
MARGIN = 20  # between the axes and the first and last point
APART = 52  # of two labels below the axis
BESIDE = 5  # of the points of two curves at the same rows
UNDER = 13  # of the labels of two curves at their ends
ZOOM = 0.3  # where no interval of several curves goes below this, the axis starts above 0


class Point(NamedTuple):
    """An accuracy with its interval at a number of rows. `best`: drawn filled; `of`: of what, e.g. `n = 180`."""

    rows: float
    accuracy: Interval
    best: bool = False
    of: str = ""


class Curve(NamedTuple):
    """Points in the order of their rows, at least one. `label`: written at its end."""

    label: str
    points: Sequence[Point]


def plot(curves: Sequence[Curve]) -> dict[str, Any]:
    """Lay out curves, at least one, on the same axes."""
    points = [point for curve in curves for point in curve.points]
    top = min(1.0, max(0.2, *(point.accuracy.high for point in points)))
    least = min(point.accuracy.low for point in points)
    bottom = math.floor(10 * least) / 10 if len(curves) > 1 and least > ZOOM else 0.0
    widest = max(point.rows for point in points) or 1

    def across(rows: float) -> float:
        return round(LEFT + MARGIN + (RIGHT - LEFT - 2 * MARGIN) * rows / widest, 1)

    def up(accuracy: float) -> float:
        share = (max(bottom, min(accuracy, top)) - bottom) / (top - bottom)
        return round(BOTTOM - (BOTTOM - TOP) * share, 1)

    ends = _spread([up(curve.points[-1].accuracy.value) for curve in curves])
    lines = []
    for number, curve in enumerate(curves):
        aside = BESIDE * (number - (len(curves) - 1) / 2)
        lines.append(
            {
                "label": curve.label,
                "end": (across(widest) + BESIDE * len(curves) / 2 + 8, round(ends[number] + 4, 1)),
                "points": [
                    {
                        "x": round(across(point.rows) + aside, 1),
                        "y": up(point.accuracy.value),
                        "low": up(point.accuracy.low),
                        "high": up(point.accuracy.high),
                        "best": point.best,
                        "says": _says(curve.label, point),
                    }
                    for point in curve.points
                ],
            }
        )
    step = 0.2 if top - bottom > 0.5 else 0.1
    lines_at = [bottom + step * k for k in range(int((top - bottom) / step + 1e-9) + 1)]
    grid = [(up(at), f"{at:.1f}") for at in lines_at]
    size = {"left": LEFT, "right": RIGHT, "width": WIDTH, "height": HEIGHT}
    return {"lines": lines, "grid": grid, "ticks": _ticks({point.rows for point in points}, across), **size}


def _spread(heights: Sequence[float]) -> list[float]:
    """Move labels at these heights apart, downwards, and all of them up where the last would leave the axes."""
    order = sorted(range(len(heights)), key=lambda n: heights[n])
    found, last = [*heights], -math.inf
    for n in order:
        found[n] = last = max(heights[n], last + UNDER)
    beyond = max(0.0, last - BOTTOM)
    return [height - beyond for height in found]


def says(found: Interval) -> str:
    """An accuracy with its interval in words."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _says(label: str, point: Point) -> str:
    of = f", {point.of}" if point.of else ""
    rows = counted(int(point.rows), "row") if point.rows == int(point.rows) else f"{point.rows:.1f} rows"
    return f"{label + ', ' if label else ''}{rows}: {says(point.accuracy)}{of}"


def _ticks(rows: set[float], across: Any) -> list[tuple[float, str]]:
    """Where rows are named below the axis: each number that has room beside the one before."""
    found: list[tuple[float, str]] = []
    for number in sorted(rows):
        if not found or across(number) - found[-1][0] >= APART:
            found.append((across(number), f"{number:.0f}" if number else "base"))
    return found
