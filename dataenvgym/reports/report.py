"""Tables of a finished run on the terminal, all from summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataenvgym.envs.evaluation import UNSKILLED
from dataenvgym.envs.stats import wilson
from dataenvgym.envs.text import counted
from dataenvgym.envs.types import Interval
from dataenvgym.runs.scorings import TEST_SCORED, said

REPORT = "report.html"
# The report lists skills that lost more than this on the test split.
LOSS = 0.10
# The most notes on trainings in the facts.
NOTES = 5
LIMITS = ("value", "low", "high")
# The key that a training's note on rows that are too long names.
MAX_LENGTH = "student.train.max_length"


def show(summary: dict[str, Any], run_dir: Path, console: Console) -> None:
    """Print the curve, the table per skill and the facts of a run."""
    console.print()
    console.print(_curve(summary))
    console.print(_rows(summary))
    console.print(_skills(summary))
    if scores := score_lines(summary):
        console.print(_scores(scores))
    for line in facts(summary):
        console.print(line, highlight=False)
    console.print(Text(f"all files are in {run_dir}"), soft_wrap=True)
    console.print(Text(f"HTML report: {run_dir / REPORT}"), soft_wrap=True)
    if "budget" in summary["stop_reason"]:
        more = f"continue with a larger budget: dataenvgym resume {run_dir} --set budget.KEY=VALUE"
        console.print(Text(more), soft_wrap=True)


def headline(summary: Mapping[str, Any]) -> str:
    """Describe a run in one line."""
    state = "" if summary["state"] else " without state"
    return (
        f"{summary['task']} / {summary['structure']}{state}, student {summary['student']}, seed {summary['seed']}"
    )


def interval(accuracy: float, n: int) -> Interval:
    """Compute the Wilson interval of an accuracy of the summary."""
    return wilson(round(accuracy * n), n)


def lost_much(skill: Mapping[str, Any]) -> bool:
    """Tell whether a skill lost more than `LOSS` against its base on the private test."""
    return bool(skill["best"] < skill["base"] - LOSS)


def score_lines(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The partial scores of the private test, one line each, and what validation gave of each by iteration.

    None where the domain has none, or an older version wrote the summary."""
    test = summary["test"]
    return [
        {
            "name": name,
            "base": found,
            "best": test["best"]["scores"][name],
            "gain": test["score_gains"][name],
            "val": [point["scores"].get(name, {}).get("value") for point in summary["val"]],
            "n": found["n"],
        }
        for name, found in test["base"].get("scores", {}).items()
        if name in test["best"]["scores"]
    ]


def facts(summary: Mapping[str, Any]) -> list[str]:
    """List the lines below the tables."""
    test, seconds, teacher = summary["test"], summary["seconds"], summary["teacher"]
    gain = test["gain"]
    sure = "excludes zero" if gain["low"] > 0 or gain["high"] < 0 else "includes zero"
    lines = [] if summary["rows_accepted"] else ["no row was accepted, so nothing was trained"]
    lines += [
        f"gain on the private test: {gain['value']:+.3f}, 95% interval {gain['low']:+.3f} to {gain['high']:+.3f} "
        f"({sure}), best of val: iteration {summary['best_iteration']}",
        *([said(scored)] if (scored := summary.get(TEST_SCORED)) else []),
        f"area under the validation curve: {summary['val_area']:.3f}",
    ]
    if summary["rows_to_target"] is not None:
        lines.append(f"rows to the target: {summary['rows_to_target']}")
    lost = [f"{name} {s['base']:.2f} -> {s['best']:.2f}" for name, s in summary["skills"].items() if lost_much(s)]
    if summary["unskilled"]:
        lines.append(f"val instances without a skill (in {UNSKILLED!r}): {summary['unskilled']}")
    lines.append(f"skills that lost more than {LOSS:.0%}: {', '.join(lost) or 'none'}")
    scripted = "  (scripted: a test instrument, not a language model)" if teacher["model"] == "scripted" else ""
    lines += [
        f"teacher: {teacher['model']}, policy {teacher['policy']}, {counted(summary['calls'], 'call')} "
        f"and {summary['cached_calls']} from the cache{scripted}",
        *_models(summary),
        _spent(summary),
        f"rows: {summary['rows_accepted']} accepted, {summary['rows_rejected']} rejected",
        *_trainings(summary),
        *_answers(summary),
        *_replies(summary),
        "seconds: " + ", ".join(f"{phase} {value:.0f}" for phase, value in seconds.items()),
        f"stopped: {summary['stop_reason']}",
    ]
    return lines


def _trainings(summary: Mapping[str, Any]) -> list[str]:
    """What the trainings noted, the first `NOTES` of it, and what to set where rows were too long."""
    notes = [
        f"training of iteration {line['iteration']}: {note}"
        for line in summary["rows"]
        for note in line.get("training_notes", [])
    ]
    lines = notes[:NOTES]
    if len(notes) > NOTES:
        lines.append(f"{counted(len(notes) - NOTES, 'more note')} on trainings in summary.json")
    if any(MAX_LENGTH in note for note in notes):
        lines.append(f"to train on whole rows: --set {MAX_LENGTH}=TOKENS with a larger number, in a new run")
    return lines


def _answers(summary: Mapping[str, Any]) -> list[str]:
    """How many answers of the student were generated in this run; unknown in older summaries."""
    found = summary.get("answers")
    return [f"the student's answers: {found['asked']}, {found['cached']} of them from the cache"] if found else []


def _replies(summary: Mapping[str, Any]) -> list[str]:
    """What was amiss in the replies of the teacher's model."""
    lines = [
        f"replies that failed: {count} x {reason}" for reason, count in summary.get("failed_replies", {}).items()
    ]
    if summary.get("repaired"):
        lines.append(f"LaTeX commands given back their backslash: {summary['repaired']}")
    if summary.get("left_out"):
        lines.append(f"the model takes no {', no '.join(summary['left_out'])}: left out of requests")
    return lines


def _models(summary: Mapping[str, Any]) -> list[str]:
    """What each node asked of its model, where there are several."""
    nodes = summary.get("calls_by_node", [])
    if len({one["model"] for one in nodes}) < 2:
        return []
    return [
        f"{one['node']}: {one['model']}, {one['calls']} calls, {one['prompt_tokens']} prompt and "
        f"{one['completion_tokens']} completion tokens, {_price(one['cost'])}"
        for one in nodes
    ]


def _price(cost: float | None) -> str:
    return "cost unknown: set the model's price" if cost is None else f"${cost:.4f}"


def _spent(summary: Mapping[str, Any]) -> str:
    tokens, cost = summary["tokens"], summary["cost"]
    unmetered = f" ({counted(summary['unmetered_calls'], 'call')} estimated)" if summary["unmetered_calls"] else ""
    price = "cost unknown: set teacher.llm.price" if cost is None else f"${cost:.4f}"
    if cost is not None and (unpriced := summary.get("unpriced_calls")):
        price += f" and {counted(unpriced, 'call')} of unknown cost"
    return f"tokens: {tokens['prompt']} prompt, {tokens['completion']} completion{unmetered}, {price}"


def _curve(summary: dict[str, Any]) -> Table:
    table = Table(title=f"{headline(summary)}: validation", box=box.SIMPLE)
    for column in ("iteration", "rows", "accuracy", "95% interval", "n"):
        table.add_column(column, justify="right")
    for point in summary["val"]:
        found = interval(point["accuracy"], point["n"])
        best = point["iteration"] == summary["best_iteration"]
        table.add_row(
            "base" if point["iteration"] == 0 else str(point["iteration"]),
            str(point["rows"]),
            f"{point['accuracy']:.3f}",
            f"{found.low:.3f} - {found.high:.3f}",
            str(point["n"]),
            style="bold" if best else "",
        )
    return table


def _rows(summary: dict[str, Any]) -> Table:
    table = Table(title="rows", box=box.SIMPLE, caption="diversity: compressed over plain size", pad_edge=False)
    numbers = ("iteration", "asked", "received", "salvaged", "refilled", "accepted")
    short = {"received": "got", "accepted": "kept"}  # so that a line fits 80 columns
    for column in (*numbers, "diversity"):
        table.add_column(short.get(column, column), justify="right", no_wrap=True)
    table.add_column("rejected by")
    for line in summary["rows"]:
        counts = [line[key] for key in numbers]
        varied = "-" if line["diversity"] is None else f"{line['diversity']:.2f}"
        rejected = ", ".join(f"{check} {count}" for check, count in line["rejected"].items())
        table.add_row(*map(str, counts), varied, Text(rejected or "-"))
    return table


def _skills(summary: dict[str, Any]) -> Table:
    table = Table(
        title="private test: base against best of val, 95% intervals in brackets", box=box.SIMPLE, pad_edge=False
    )
    for column in ("skill", "base", "best", "gain", "n"):
        table.add_column(column, justify="left" if column == "skill" else "right", no_wrap=True)
    for name, skill in sorted(summary["skills"].items(), key=lambda item: item[1]["best"] - item[1]["base"]):
        style = "red" if lost_much(skill) else ""
        table.add_row(*_row(name, skill["base"], skill["best"], skill["gain"], skill["n"]), style=style)
    test = summary["test"]
    table.add_section()
    accuracies = test["base"]["accuracy"], test["best"]["accuracy"]
    table.add_row(*_row("all", *accuracies, test["gain"], test["base"]["n"]), style="bold")
    return table


def _scores(lines: list[dict[str, Any]]) -> Table:
    table = Table(title="partial scores of the private test, 95% intervals", box=box.SIMPLE, pad_edge=False)
    for column in ("score", "base", "best", "gain", "n"):
        table.add_column(column, justify="left" if column == "score" else "right", no_wrap=column != "score")
    for line in lines:
        cells = [_bracketed(Interval(*(line[key][limit] for limit in LIMITS))) for key in ("base", "best")]
        table.add_row(*map(Text, (line["name"], *cells, _change(line["gain"]), str(line["n"]))))
    return table


def _row(name: str, base: float, best: float, gain: dict[str, float], n: int) -> list[Text]:
    """Make the cells of a line as text: a skill's name is data, not markup."""
    cells = [_bracketed(interval(accuracy, n)) for accuracy in (base, best)]
    return [Text(cell) for cell in (name, *cells, _change(gain), str(n))]


def _bracketed(found: Interval) -> str:
    return f"{found.value:.2f} ({_short(found.low)} {_short(found.high)})"


def _change(gain: Mapping[str, float]) -> str:
    return f"{gain['value']:+.2f} ({_short(gain['low'], '+')} {_short(gain['high'], '+')})"


def _short(value: float, sign: str = "") -> str:
    """Format two decimals without the leading zero, so that a line of the table fits 80 columns."""
    return f"{value:{sign}.2f}".replace("0.", ".", 1)
