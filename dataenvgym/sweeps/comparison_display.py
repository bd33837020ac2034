"""A comparison of a sweep's settings: on the terminal, and as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dataenvgym.envs.text import clean, counted
from dataenvgym.envs.types import Interval
from dataenvgym.reports.comparison import p_value, setting
from dataenvgym.reports.comparison_page import scale, write_page
from dataenvgym.reports.curves import Curve, Point, plot
from dataenvgym.sweeps.comparison import SweepComparison
from dataenvgym.sweeps.display import WIDE, format_interval, make_table
from dataenvgym.sweeps.results import SEED, Difference, format_settings, short_names

TEMPLATE = "sweep_comparison.html.jinja"
HOLM = "p: Student's test over runs, McNemar's exact test over instances; Holm: all {} corrected together"


def show_sweep(found: SweepComparison, console: Console) -> None:
    """Print the table of structures, states and tasks, the means with intervals, and the paired differences."""
    console.print(Text(f"\n{heading(found)}"), soft_wrap=True)
    wide = console.width >= WIDE
    table = make_table(["teacher", *map(clean, found["columns"]), "average gain"], left=1)
    table.title = "private test in percent, mean over seeds (gain)"
    for line in table_lines(found):
        table.add_row(*map(Text, (line["name"], *(cell["text"] for cell in line["cells"]), line["average"])))
    console.print(table)
    for number, column in enumerate(found["columns"]):
        shown = len(MEANS) if wide else NARROW
        means = make_table(["teacher", *MEANS[:shown]], left=1)
        means.title = Text(f"{column}: means over seeds, 95% intervals", "table.title")
        for name, cells in mean_lines(found, number):
            means.add_row(*map(Text, (name, *cells[:shown])))
        console.print(means)
    if found["differences"]:
        rows = difference_lines(found)
        if not wide:
            rows = [{name: text for name, text in row.items() if name not in ("pairs", "area")} for row in rows]
        table = make_table(list(rows[0]), left=2)
        table.title = f"differences paired by {_paired(found)}"
        table.caption = HOLM.format(counted(len(rows), "difference"))
        for row in rows:
            table.add_row(*map(Text, row.values()))
        console.print(table)
    for note in notes(found):
        console.print(Text(f"note: {note}", "yellow"), soft_wrap=True)


def heading(found: SweepComparison) -> str:
    """What is compared, in words."""
    return f"sweep {found['name']}: {counted(found['finished'], 'finished run')}"


def notes(found: SweepComparison) -> list[str]:
    """What limits the comparison, and which runs are not in it."""
    left = [f"not finished, and left out: {', '.join(found['unfinished'])}"] if found["unfinished"] else []
    return [*left, *found["notes"]]


def table_lines(found: SweepComparison) -> list[dict[str, Any]]:
    """The paper's table 2: before training, then a line per teacher; `best`: the highest of a task."""
    before = [
        _percent(low) if high - low < 1e-9 else f"{_percent(low)}-{_percent(high)}"
        for low, high in found["before"]
    ]
    lines = [_table_line("before", [{"text": text, "says": "", "best": False} for text in before], None)]
    tops = [
        max((line["cells"][n]["best"] for line in found["lines"] if line["cells"][n]), default=0.0)
        for n in range(len(found["columns"]))
    ]
    for line in found["lines"]:
        cells = [_cell(cell, top) for cell, top in zip(line["cells"], tops, strict=True)]
        lines.append(_table_line(line["name"], cells, line["average"]))
    return lines


def _table_line(name: str, cells: list[dict[str, Any]], average: float | None) -> dict[str, Any]:
    return {"name": name, "cells": cells, "average": "-" if average is None else f"{100 * average:+.2f}"}


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _cell(cell: Mapping[str, Any] | None, top: float) -> dict[str, Any]:
    if cell is None:
        return {"text": "-", "says": "", "best": False}
    interval = "" if cell["gain_low"] is None else f", gain {_spread(cell, 'gain', '+')}"
    return {
        "text": f"{_percent(cell['best'])} ({100 * cell['gain']:+.2f})",
        "says": f"{counted(cell['runs'], 'run')}{interval}",
        "best": cell["best"] >= top,
    }


MEANS = ("runs", "best", "95%", "gain", "95%", "area", "rows", "tokens", "dollars", "s")
NARROW = 6  # of them on a narrow terminal


def mean_lines(found: SweepComparison, column: int) -> list[tuple[str, list[str]]]:
    """Per teacher the means of one task as text, as `MEANS` names them."""
    lines = []
    for line in found["lines"]:
        cell = line["cells"][column]
        if cell is None:
            continue
        tokens = [cell["prompt_tokens"], cell["completion_tokens"]]
        figures = [str(cell["runs"]), f"{cell['best']:.3f}", _between(cell, "best")]
        figures += [
            f"{cell['gain']:+.3f}",
            _between(cell, "gain"),
            f"{cell['val_area']:.3f}",
            f"{cell['rows']:.0f}",
        ]
        figures.append("?" if None in tokens else f"{sum(tokens):,.0f}")
        figures.append("?" if cell["cost"] is None else f"{cell['cost']:.2f}")
        figures.append("?" if cell["seconds"] is None else f"{cell['seconds']:.0f}")
        lines.append((line["name"], figures))
    return lines


def _between(cell: Mapping[str, Any], name: str) -> str:
    return "-" if cell[f"{name}_low"] is None else _spread(cell, name, "+" if name == "gain" else "")


def _spread(cell: Mapping[str, Any], name: str, sign: str) -> str:
    return " ".join(f"{cell[f'{name}_{end}']:{sign}.2f}" for end in ("low", "high")).replace("0.", ".")


def difference_lines(found: SweepComparison) -> list[dict[str, str]]:
    """A line per difference, as text; of the other settings those that vary."""
    values: dict[str, set[str]] = {}
    for d in found["differences"]:
        for key, value in d["settings"].items():
            values.setdefault(key, set()).add(repr(value))
    keys = [key for key, several in values.items() if len(several) > 1]
    return [_difference(d, keys) for d in found["differences"]]


def _difference(d: Difference, keys: Sequence[str]) -> dict[str, str]:
    name = "" if isinstance(d["value"], str) else f"{short_names([d['key']])[d['key']]}: "
    return {
        "difference": f"{name}{setting(d['value'])} - {setting(d['first'])}",
        "where": format_settings(d["settings"], keys) or "all",
        "pairs": str(d["pairs"]),
        "best": f"{d['best']:+.3f}",
        "95%": format_interval(d["low"], d["high"]),
        "p": _p(d["p"]),
        "Holm": _p(d["p_holm"]),
        "effect": "-" if d["effect"] is None else f"{d['effect']:+.2f}",
        "area": f"{d['val_area']:+.3f}",
    }


def _p(p: float | None) -> str:
    return "-" if p is None else p_value(p).removeprefix("p ").removeprefix("= ")


def _paired(found: SweepComparison) -> str:
    """What the two runs of a pair share beside their other settings, in words."""
    words = dict.fromkeys("seed" if key == SEED else "task" for key in found["paired_by"])
    return " and ".join(words) or "all other settings"


def write_sweep(file: Path, found: SweepComparison) -> None:
    """Write the page of a sweep's comparison."""
    columns = [
        {
            "name": name,
            "means": mean_lines(found, number),
            "lines": [
                (f"T{n}", line["name"])
                for n, (line, curve) in enumerate(zip(found["lines"], found["curves"][number], strict=True), 1)
                if curve["points"]
            ],
            "curve": plot(mean_curves(found["curves"][number])),
        }
        for number, name in enumerate(found["columns"])
    ]
    contents = {
        "title": heading(found),
        "notes": notes(found),
        "columns": columns,
        "table": table_lines(found),
        "means": MEANS,
        "differences": [
            {**text, "over": d["over"], "each": _each(d["each"]), "area_each": _each(d["area_each"]), "d": d}
            for text, d in zip(difference_lines(found), found["differences"], strict=True)
        ],
        "scale": scale([Interval(d["best"], d["low"], d["high"]) for d in found["differences"]]),
        "paired": _paired(found),
        "holm": HOLM.format(counted(len(found["differences"]), "difference")),
    }
    write_page(file, TEMPLATE, contents)


def _each(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.3f}" for value in values).replace("0.", ".")


def mean_curves(curves: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The mean curves of one task, those that have points; `curves`: of a `SweepComparison`, one of its tasks."""
    found = []
    for number, curve in enumerate(curves, 1):
        of = f"mean of {counted(curve['runs'], 'run')}"
        points = [Point(point["rows"], Interval(*point["accuracy"]), False, of) for point in curve["points"]]
        if points:
            found.append(Curve(f"T{number}", points))
    return found
