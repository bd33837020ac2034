"""A comparison of runs as one HTML page: no script, nothing fetched, everything a model wrote escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dataenvgym.envs.store import write_bytes
from dataenvgym.envs.types import Interval
from dataenvgym.reports.comparison import cost_lines, sentence, setting, skill_names
from dataenvgym.reports.curves import Curve, Point, plot, says
from dataenvgym.reports.html_report import cut, page_template
from dataenvgym.runs.comparison import Pair, RunComparison, Side

TEMPLATE = "comparison.html.jinja"
INSTANCES = 40  # that one of two runs alone solves, of each side


def write_page(file: Path, template: str, contents: Mapping[str, Any]) -> None:
    """Render a template of this package into a file, written atomically."""
    write_bytes(file, page_template(template).render(contents).encode(errors="replace"))


def write_runs(file: Path, found: RunComparison) -> None:
    """Write the page of a comparison of runs."""
    runs = found["runs"]
    contents = {
        "title": f"{len(runs)} runs of task {found['task']}",
        "notes": found["notes"],
        "runs": runs,
        "settings": [(key, [setting(run["settings"][key]) for run in runs]) for key in runs[0]["settings"]],
        "curve": plot([_curve(run) for run in runs]),
        "costs": cost_lines(found),
        "skills": [(name, [_gain(run["skills"].get(name)) for run in runs]) for name in skill_names(runs)],
        "pairs": [_pair(pair, runs) for pair in found["pairs"]],
    }
    write_page(file, TEMPLATE, contents)


def scale(differences: Sequence[Interval]) -> float:
    """The widest that drawings of differences must reach, to both sides of 0."""
    return max((abs(end) for found in differences for end in (found.low, found.high)), default=0.0) or 1.0


def _curve(run: Side) -> Curve:
    points = [
        Point(
            point["rows"],
            Interval(point["value"], point["low"], point["high"]),
            number == run["best_iteration"],
            f"n = {point['n']}",
        )
        for number, point in enumerate(run["curve"])
    ]
    return Curve(run["label"], points)


def _gain(skill: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A cell of the skills: from base to best, and the gain, shaded by its size."""
    if skill is None:
        return None
    gain = Interval(**skill["gain"])
    return {
        "base": skill["base"],
        "best": skill["best"],
        "gain": gain,
        "n": skill["n"],
        "shade": f"{0.6 * max(0.0, gain.value):.2f}",
        "lost": gain.value < 0,
        "says": f"gain {says(gain)}, n = {skill['n']}",
    }


def _pair(pair: Pair, runs: Sequence[Side]) -> dict[str, Any]:
    numbers = {run["label"]: number for number, run in enumerate(runs)}
    only = (
        (pair["first"], pair["other"], "first", "other", pair["only_first"]),
        (pair["other"], pair["first"], "other", "first", pair["only_other"]),
    )
    return {
        "first": pair["first"],
        "other": pair["other"],
        "numbers": (numbers[pair["first"]], numbers[pair["other"]]),
        "says": sentence(pair),
        "scale": scale([one["difference"] for one in pair["skills"]]),
        "skills": pair["skills"],
        "only": [
            {
                "right": right,
                "wrong": wrong,
                "count": len(instances),
                "left": len(instances[INSTANCES:]),
                "shown": [
                    {
                        "id": one["id"],
                        "skill": one["skill"],
                        "question": cut(one["question"]),
                        "gold": cut(one["gold"]),
                        "right": cut(one[mine]["text"]),
                        "wrong": cut(one[its]["text"]),
                        "detail": cut(one[its]["detail"]),
                    }
                    for one in instances[:INSTANCES]
                ],
            }
            for right, wrong, mine, its, instances in only
        ],
    }
