"""A sweep on the terminal: its progress, and the tables at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dataenvgym.sweeps.local import Change
from dataenvgym.sweeps.plan import LOGS, Episode, values_of
from dataenvgym.sweeps.results import (
    COMPARISONS,
    RESULTS,
    SEED,
    TABLE,
    Difference,
    Record,
    SweepResult,
    format_settings,
    format_value,
    means,
    short_names,
    varying_keys,
)

LOOK = 1.0  # seconds between two looks into the run folders
WIDE = 100  # on a narrower terminal the tables leave out columns, which results.csv has


class Display:
    """Prints finished iterations and episodes, and shows a progress bar on a terminal."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self._console, self._bar = console, bar
        self._task: Any = None
        self._reached: dict[str, int] = {}
        self._of: dict[str, int] = {}
        self._out, self._looked, self._stopping = Path(), 0.0, False

    def begin(self, episodes: Sequence[Episode], left: Sequence[Episode], out: Path) -> None:
        """Start with the sweep's episodes and those that are still to run."""
        done = len(episodes) - len(left)
        kept = f", {done} of them finished before" if done else ""
        self._say(f"{_count(episodes)}{kept}, in {out}")
        self._task = self._bar.add_task("episodes", total=len(episodes), completed=done)
        self._out, self._of = out, {e.name: e.config.budget.iterations for e in left}
        self._reached = {name: reached(out / name) for name in self._of}

    def change(self, change: Change, stop: int = 0) -> None:
        """Show an ended episode, or refresh without one. `stop`: how many stop signals came."""
        if stop and not self._stopping:
            self._stopping = True
            self._say("ending after the current work; once more to stop at once", "yellow")
        now = time.monotonic()
        if change is None and now - self._looked < LOOK:
            return
        self._looked = now
        for name, before in self._reached.items():
            number = reached(self._out / name)
            if number > before:
                self._reached[name] = number
                self._say(
                    f"  {name}: "
                    + (f"iteration {number} of {self._of[name]}" if number else "base")
                    + " evaluated"
                )
        if change is not None:
            name, ended = change
            self._reached.pop(name, None)
            style = {"finished": "green", "interrupted": "yellow"}.get(ended["status"], "red")
            reason = f": {ended['reason']}" if ended["reason"] else ""
            self._say(f"{name} {ended['status']}{reason}", style)
            self._bar.advance(self._task)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)


@contextmanager
def live(console: Console) -> Iterator[Display]:
    """Show a display during the block."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Display(console, bar)


def reached(run_dir: Path) -> int:
    """Find the last evaluated iteration; -1 before the base is evaluated."""
    return len(list(run_dir.glob("iterations/*/predictions.jsonl"))) - 1


def show_episodes(episodes: Sequence[Episode], keys: Sequence[str], console: Console) -> None:
    """Print the episodes that a sweep would run."""
    names = short_names(keys)
    table = make_table(["run", *(names[key] for key in keys)], left=1 + len(keys))
    for episode in episodes:
        values = values_of(episode, keys)
        table.add_row(*map(Text, (episode.name, *(format_value(values[key]) for key in keys))))
    console.print(table)
    console.print(f"{_count(episodes)}, all configs valid; nothing was run")


def show_results(found: SweepResult, out: Path, console: Console) -> None:
    """Print the runs, the means over seeds, the differences, and the reasons of failures."""
    keys = varying_keys(found.records)
    wide = console.width >= WIDE
    console.print(_runs(found.records, keys, wide))
    rest = [key for key in keys if key != SEED]
    if SEED in keys and any(group["runs"] > 1 for group in means(found.records)):
        console.print(_means(found.records, rest))
    if found.differences:
        console.print(_differences(found.differences, rest, wide))
    for record in found.records:
        if record["status"] == "failed":
            text = f"{record['name']} failed: {record['reason']} (log: {out / LOGS / record['name']}.log)"
            console.print(Text(text, "red"), soft_wrap=True)
    files = f"{RESULTS}, {TABLE} and {COMPARISONS} are in {out}, with a run folder per episode"
    console.print(Text(files), soft_wrap=True)


def _count(episodes: Sequence[Episode]) -> str:
    return "1 episode" if len(episodes) == 1 else f"{len(episodes)} episodes"


def _runs(records: Sequence[Record], keys: Sequence[str], wide: bool) -> Table:
    names = short_names(keys)
    columns = ["base", "best", "gain", "95%", "area", *(("rows", "calls", "cost", "s") if wide else ())]
    ended = [] if all(record["status"] == "finished" for record in records) else ["status"]
    table = make_table([*(names[key] for key in keys), *columns, *ended], left=len(keys))
    table.title = "runs: accuracy on the private test, area under the validation curve"
    sizes = sorted({str(r["figures"]["n"]) for r in records if r["status"] == "finished"})
    ranges = {r["figures"]["area_rows"] for r in records if r["status"] == "finished"}
    if ranges:
        table.caption = f"test instances: {', '.join(sizes)}; area from 0 to {ranges.pop()} rows, as all runs have"
    for record in records:
        f = record["figures"]
        cells = ["-"] * len(columns)
        if record["status"] == "finished":
            cells = [f"{f['base']:.3f}", f"{f['best']:.3f}", f"{f['gain']:+.3f}"]
            cells += [format_interval(f["gain_low"], f["gain_high"]), f"{f['val_area']:.3f}"]
            cost = "?" if f["cost"] is None else f"${f['cost']:.2f}"
            cells += [str(f["rows"]), str(f["calls"]), cost, f"{f['seconds']:.0f}"] if wide else []
        settings = [format_value(record["settings"][key]) for key in keys]
        table.add_row(*map(Text, (*settings, *cells, *(record["status"] for _ in ended))))
    return table


def format_interval(low: float, high: float) -> str:
    """Format an interval as in the tables of a run: `-.05 +.21`."""
    return f"{low:+.2f} {high:+.2f}".replace("0.", ".")


def _means(records: Sequence[Record], keys: Sequence[str]) -> Table:
    names = short_names(keys)
    columns = ("runs", "base", "best", "deviation", "gain", "area", "rows")
    table = make_table([*(names[key] for key in keys), *columns], left=len(keys))
    table.title = "means over seeds"
    for group in means(records):
        deviation = "-" if group["best_deviation"] is None else f"{group['best_deviation']:.3f}"
        settings = [format_value(group["settings"][key]) for key in keys]
        figures = [f"{group[name]:.3f}" for name in ("base", "best")]
        figures += [deviation, f"{group['gain']:+.3f}", f"{group['val_area']:.3f}", f"{group['rows']:.0f}"]
        table.add_row(*map(Text, (*settings, str(group["runs"]), *figures)))
    return table


def _differences(differences: Sequence[Difference], keys: Sequence[str], wide: bool) -> Table:
    columns = ["difference", "where", "pairs", "best", "95%", "over", "area", *(["best per pair"] if wide else [])]
    table = make_table(columns, left=2)
    table.title = "paired differences against a key's first value"
    for d in differences:
        values = f"{format_value(d['value'])} - {format_value(d['first'])}"
        name = "" if isinstance(d["value"], str) else f"{short_names(keys)[d['key']]}: "
        each = " ".join(f"{value:+.2f}" for value in d["each"]).replace("0.", ".")
        figures = (f"{d['best']:+.3f}", format_interval(d["low"], d["high"]), d["over"], f"{d['val_area']:+.3f}")
        where = format_settings(d["settings"], keys) or "all"
        table.add_row(*map(Text, (name + values, where, str(d["pairs"]), *figures, *([each] if wide else []))))
    return table


def make_table(columns: Sequence[str], left: int) -> Table:
    """Make a table whose first `left` columns hold words, and the others figures, which do not wrap."""
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "left" if number < left or column == "status" else "right"
        table.add_column(Text(column), justify=side, no_wrap=number >= left, overflow="fold")
    return table
