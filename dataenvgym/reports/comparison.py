"""A comparison of runs on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataenvgym.envs.text import clean, counted
from dataenvgym.envs.types import Interval
from dataenvgym.runs.comparison import Pair, RunComparison, Side

SHOWN = 3  # instances that one of two runs alone solves, of each side
FEW = 4  # runs whose curves have their intervals beside them in 80 columns
VALUE = 60  # characters of a setting


def show_runs(found: RunComparison, console: Console) -> None:
    """Print which runs are compared, their curves, skills and costs, and each pair of runs."""
    console.print(f"\n{counted(len(found['runs']), 'run')} of task {found['task']}", highlight=False, markup=False)
    for side in found["runs"]:
        console.print(Text(f"  {side['label']}: {side['path']}"), soft_wrap=True)
    for table in (_settings(found["runs"]), _accuracies(found), _curves(found["runs"]), _costs(found)):
        if table is not None:
            console.print(table)
    console.print(_skills(found))
    if len(found["pairs"]) > 1:
        console.print(_pairs(found["pairs"]))
    for pair in found["pairs"]:
        console.print(Text(sentence(pair)), soft_wrap=True)
        _instances(pair, console)
    for note in found["notes"]:
        console.print(Text(f"note: {note}", "yellow"), soft_wrap=True)


def sentence(pair: Pair) -> str:
    """The result of a pair in words."""
    d, first, other = pair["difference"], pair["first"], pair["other"]
    corrected = f", {p_value(pair['p_holm'])} after Holm" if pair["p_holm"] != pair["p"] else ""
    return (
        f"{other} - {first}: {d.value:+.3f}, 95% interval {d.low:+.3f} to {d.high:+.3f}, McNemar's exact "
        f"{p_value(pair['p'])}{corrected}; both solve {pair['both']}, {first} alone {len(pair['only_first'])}, "
        f"{other} alone {len(pair['only_other'])}, neither {pair['neither']}"
    )


def p_value(p: float | None) -> str:
    """Format a p-value: `p = .034`."""
    if p is None:
        return "no p"
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def setting(value: Any) -> str:
    """Format the value of a config key."""
    text = value if isinstance(value, str) else "-" if value is None else json.dumps(value, ensure_ascii=False)
    text = clean(text)
    return text if len(text) <= VALUE else f"...{text[3 - VALUE :]}"


def cost_lines(found: RunComparison) -> list[tuple[str, list[str]]]:
    """What the runs had and used, a line of (name, a value per run) each."""
    runs = found["runs"]
    seconds = ("total", "teach", "train", "evaluate")
    lines: Mapping[str, list[str]] = {
        "rows accepted": [str(run["rows"]) for run in runs],
        "rows rejected": [str(run["rows_rejected"]) for run in runs],
        "teacher's calls": [f"{run['calls']:,}" for run in runs],
        "prompt tokens": [f"{run['tokens']['prompt']:,}" for run in runs],
        "completion tokens": [f"{run['tokens']['completion']:,}" for run in runs],
        "dollars": ["unknown" if run["cost"] is None else f"{run['cost']:.4f}" for run in runs],
        **{
            ("seconds" if key == "total" else f"  {key}"): [f"{run['seconds'].get(key, 0):.0f}" for run in runs]
            for key in seconds
        },
        f"area to {found['area_rows']} rows": [f"{run['area']:.3f}" for run in runs],
    }
    return list(lines.items())


def skill_names(runs: Sequence[Side]) -> list[str]:
    """All skills of the private test, in alphabetical order."""
    return sorted({name for run in runs for name in run["skills"]})


def _labels(runs: Sequence[Side]) -> list[str]:
    return [run["label"] for run in runs]


def _table(title: str, names: Sequence[str], columns: Sequence[str], caption: str | None = None) -> Table:
    """`names`: the heads of columns of words, which may wrap; `columns`: those of figures, which may not."""
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), caption=caption)
    for name in names:
        table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _settings(runs: Sequence[Side]) -> Table | None:
    keys = list(runs[0]["settings"])
    if not keys:
        return None
    table = _table("settings that differ", ["key", *_labels(runs)], [])
    for key in keys:
        table.add_row(*map(Text, (key, *(setting(run["settings"][key]) for run in runs))))
    return table


def short(value: float, sign: str = "") -> str:
    """Format a fraction without its leading zero: `.62`, `+.05`."""
    return f"{value:{sign}.2f}".replace("0.", ".", 1)


def _between(found: Interval, sign: str = "") -> str:
    return f"{short(found.low, sign)} {short(found.high, sign)}"


def _accuracies(found: RunComparison) -> Table:
    table = _table(
        "private test: base against best of val",
        ["run"],
        ["base", "best", "95%", "gain", "95%", "iteration", "n"],
    )
    for run in found["runs"]:
        figures = [f"{run['base'].value:.3f}", f"{run['best'].value:.3f}", _between(run["best"])]
        figures += [f"{run['gain'].value:+.3f}", _between(run["gain"], "+")]
        table.add_row(run["label"], *figures, str(run["best_iteration"]), str(run["n"]))
    return table


def _curves(runs: Sequence[Side]) -> Table:
    wide = len(runs) <= FEW
    caption = "95% intervals in brackets" if wide else None
    table = _table("validation over rows", [], ["rows", *_labels(runs)], caption)
    curves = [{point["rows"]: point for point in run["curve"]} for run in runs]
    for rows in sorted({rows for curve in curves for rows in curve}):
        points = [curve.get(rows) for curve in curves]
        cells = [
            "-" if p is None else f"{p['value']:.3f}" + f" ({short(p['low'])} {short(p['high'])})" * wide
            for p in points
        ]
        table.add_row(str(rows), *cells)
    return table


def _costs(found: RunComparison) -> Table:
    table = _table("what each had and used", ["of the run"], _labels(found["runs"]))
    for name, values in cost_lines(found):
        table.add_row(name, *values)
    return table


def _skills(found: RunComparison) -> Table:
    """Gains per skill, and with two runs the difference of their best students too."""
    runs, pairs = found["runs"], found["pairs"]
    alone = {one["name"]: one for one in pairs[0]["skills"]} if len(pairs) == 1 else {}
    more = [f"{pairs[0]['other']} - {pairs[0]['first']}", "95%"] if alone else []
    columns = [*(f"gain {label}" for label in _labels(runs)), *more, "n"]
    table = _table("private test per skill: gain from base to best", ["skill"], columns)
    for name in sorted({*skill_names(runs), *alone}):
        own = [run["skills"].get(name) for run in runs]
        cells = [f"{one['gain']['value']:+.2f}" if one else "-" for one in own]
        if alone:
            d = alone[name]["difference"] if name in alone else None
            cells += ["-", "-"] if d is None else [f"{d.value:+.2f}", _between(d, "+")]
        n = next((one["n"] for one in (*own, alone.get(name)) if one), 0)
        table.add_row(Text(_line(name, VALUE)), *cells, str(n))
    return table


def _pairs(pairs: Sequence[Pair]) -> Table:
    caption = "p: McNemar's exact test; Holm: corrected for the number of pairs"
    columns = ["difference", "95%", "p", "Holm", "first alone", "other alone"]
    table = _table("best students against the first run's", ["pair"], columns, caption)
    for pair in pairs:
        d = pair["difference"]
        counts = [len(pair["only_first"]), len(pair["only_other"])]
        tests = [p_value(p).removeprefix("p ").removeprefix("= ") for p in (pair["p"], pair["p_holm"])]
        table.add_row(
            f"{pair['other']} - {pair['first']}",
            f"{d.value:+.3f}",
            _between(d, "+"),
            *tests,
            *map(str, counts),
        )
    return table


def _instances(pair: Pair, console: Console) -> None:
    for label, key, instances in (
        (pair["first"], "other", pair["only_first"]),
        (pair["other"], "first", pair["only_other"]),
    ):
        wrong = pair["other"] if key == "other" else pair["first"]
        for one in instances[:SHOWN]:
            answer = one[key]["answer"]
            said = "no answer" if answer is None else _line(answer, 20)
            asked = f"{_line(one['id'], VALUE)}: {_line(one['question'], 70)} = {_line(one['gold'], 20)}"
            console.print(Text(f"  {label} alone, {asked} ({wrong}: {said})"), soft_wrap=True)
        if len(instances) > SHOWN:
            console.print(f"  {len(instances) - SHOWN} more that {label} alone solves", highlight=False)


def _line(text: str, most: int) -> str:
    """A text on one line, cut."""
    text = " ".join(clean(text).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
