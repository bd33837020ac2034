"""The live display of a run: a progress bar for the current work, a line per finished part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from dataenvgym.envs.text import counted
from dataenvgym.runs.run import Event, OnEvent

QUIET = 2.0
"""Work shorter than this, in seconds, is not reported without a terminal."""


@contextmanager
def live(console: Console) -> Iterator[OnEvent]:
    """Yield a function that shows the events of a run on the console."""
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("starting", total=None)
    pieces: dict[str, _Piece] = {}

    def show(event: Event) -> None:
        kind = event["event"]
        if kind == "progress":
            _advance(bar, task, event)
            _say_progress(console, pieces, event)
        elif kind == "phase":
            pieces.clear()
            bar.reset(task, total=None, description=_phase(event))
        elif line := _line(event):
            console.print(line)

    with bar:
        yield show


def _advance(bar: Progress, task: Any, event: Event) -> None:
    if bar.tasks[0].description != event["what"]:
        bar.reset(task, description=event["what"])
    bar.update(task, completed=event["done"], total=event["total"])


@dataclass
class _Piece:
    """A piece of work in the current phase: its start and the last reported quarter."""

    began: float
    quarter: int = 0


def _say_progress(console: Console, pieces: dict[str, _Piece], event: Event) -> None:
    """Without a terminal, print a line for each quarter of work that takes longer than `QUIET`."""
    quarter = 4 * event["done"] // max(event["total"], 1)
    piece = pieces.get(event["what"])
    if piece is None or quarter < piece.quarter:  # new work with the same name
        piece = pieces[event["what"]] = _Piece(time.monotonic())
    if not console.is_terminal and quarter > piece.quarter and time.monotonic() - piece.began > QUIET:
        piece.quarter = quarter
        console.print(f"  {event['what']}: {event['done']}/{event['total']}")


def _phase(event: Event) -> str:
    name = {"reset": "preparing", "train": "training", "evaluate": "evaluating", "test": "private test"}
    return name.get(event["name"], "working")


def _trained(event: Event) -> str:
    """Describe steps, loss, speed and memory, as far as the student's trainer reports them."""
    parts = [counted(event["steps"], "step")] if "steps" in event else []
    if "final_loss" in event:
        parts.append(f"loss {event['final_loss']:.3f}")
    if "tokens_per_second" in event:
        parts.append(f"{event['tokens_per_second']:,.0f} tokens/s")
    if "peak_memory_mb" in event:
        parts.append(f"at most {event['peak_memory_mb'] / 1000:.1f} GB")
    return f"  trained: {', '.join(parts)}" if parts else ""


def _line(event: Event) -> str:
    if event["event"] == "plan":
        return f"  plan: {counted(event['rows'], 'row')} in {counted(event['requests'], 'request')}"
    if event["event"] == "diagnosed":
        short = f", {event['rejected']} rejected" if event["rejected"] else ""
        return f"  errors read: {event['diagnoses']} diagnoses{short}"
    if event["event"] == "verified":
        short = f", {event['missing']} missing" if event["missing"] else ""
        return f"  rows: {event['accepted']} accepted, {event['rejected']} rejected{short}"
    if event["event"] == "failed":
        return f"  no row from {event['count']} items or calls, most often: {escape(event['reason'][:200])}"
    if event["event"] == "note":
        return f"[yellow]{escape(event['text'])}[/yellow]"
    if event["event"] == "trained":
        return _trained(event)
    if event["event"] == "evaluated":
        step = event["step"]
        name = "base" if step["iteration"] == 0 else f"iteration {step['iteration']}"
        return (
            f"[bold]{name}[/bold]: validation accuracy [bold]{step['accuracy']:.3f}[/bold] "
            f"(n={step['n']}), {counted(step['rows'], 'row')}"
        )
    if event["event"] == "waiting":
        return "[yellow]the plan waits for approval; answer it in a terminal[/yellow]"
    if event["event"] == "draining":
        return "[yellow]ending after the current work; once more to stop at once[/yellow]"
    if event["event"] == "interrupted":
        return "[yellow]interrupted; nothing is lost[/yellow]"
    return ""
