"""The report of a finished run, report.html, from summary.json and the iteration files that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dataenvgym.agents.feedback_reader import Feedback
from dataenvgym.envs.store import Store, read_jsonl, write_bytes
from dataenvgym.envs.text import clean, counted
from dataenvgym.envs.types import Plan, Prediction, Rejected, Row
from dataenvgym.graphs.config import CONFIG_FILE
from dataenvgym.reports.curves import Curve, Point, plot, says
from dataenvgym.reports.report import REPORT, facts, headline, interval, lost_much, score_lines
from dataenvgym.runs.manifest import MANIFEST
from dataenvgym.runs.scorings import TEST_SCORED, said

TEMPLATE = "report.html.jinja"
# The most entries that the page shows per iteration; for the rest it names the file.
REQUESTS, ROWS, REJECTED, ERRORS = 40, 8, 12, 6
TEXT = 2_000  # characters of one text

Item = TypeVar("Item")


def write_report(run_dir: Path, summary: Mapping[str, Any]) -> Path:
    """Write report.html into the folder of a finished run and return its path.

    Everything that a model wrote is escaped; the page runs no script and fetches nothing.

    Raises:
        RunFolderError: a file that the summary names is gone or damaged.
    """
    page = page_template(TEMPLATE).render(_contents(run_dir, summary))
    write_bytes(run_dir / REPORT, page.encode(errors="replace"))
    return run_dir / REPORT


def page_template(name: str) -> Any:
    """A page's template of this package: texts are cleaned and escaped, and what it is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dataenvgym.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_shown,  # text by text: an escape sequence that ends in another one must take no markup with it
    )
    environment.filters["counted"] = counted
    return environment.get_template(name)


def _shown(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _contents(run_dir: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the template's variables."""
    skills = _skills(summary)
    return {
        "title": headline(summary),
        "subtitle": f"{summary['teacher']['model']} with policy {summary['teacher']['policy']}, {run_dir.name}",
        "rescored": said(scored) if len(scored := summary.get(TEST_SCORED, [])) > 1 else "",
        "scripted": summary["teacher"]["model"] == "scripted",
        "test": skills[-1],
        "curve": plot([val_curve(summary)]),
        "heat": _heat(summary),
        "skills": skills,
        "scores": score_lines(summary),
        "iterations": [
            _iteration(run_dir, line, point)
            for line, point in zip(summary["rows"], summary["val"][1:], strict=True)
        ],
        "facts": facts(summary),
        "config": (run_dir / CONFIG_FILE).read_text(encoding="utf-8"),
        "manifest": (run_dir / MANIFEST).read_text(encoding="utf-8"),
    }


def val_curve(summary: Mapping[str, Any]) -> Curve:
    """The validation curve of a run, with the best iteration marked."""
    points = [
        Point(
            point["rows"],
            interval(point["accuracy"], point["n"]),
            point["iteration"] == summary["best_iteration"],
            f"n = {point['n']}",
        )
        for point in summary["val"]
    ]
    return Curve("", points)


def _heat(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Tabulate validation accuracy and added rows per skill and iteration. Skills are those of the base's answers;
    below them are skills that only rows have (invented by a teacher), without an accuracy."""
    val, added = summary["val"], [{}, *(line["skills"] for line in summary["rows"])]
    skills = sorted({name for point in val for name in point["skills"]})
    own = sorted({name for counts in added for name in counts} - {*skills})
    lines = []
    for name in [*skills, *own]:
        scored = [point["skills"].get(name) for point in val]
        cells = [
            {**_cell(found), "rows": counts.get(name, 0)} for found, counts in zip(scored, added, strict=True)
        ]
        lines.append({"skill": name, "cells": cells, "n": scored[0]["n"] if scored[0] else 0})
    names = ["base", *(f"iteration {point['iteration']}" for point in val[1:])]
    return {"columns": names, "lines": lines}


def _cell(found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None:
        return {"accuracy": None, "shade": "0", "says": ""}
    accuracy, n = found["accuracy"], found["n"]
    return {
        "accuracy": accuracy,
        "shade": f"{0.6 * accuracy:.2f}",
        "says": f"{says(interval(accuracy, n))}, n = {n}",
    }


def _skills(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the lines of the private test: the smallest gain first, the total last."""
    ordered = sorted(summary["skills"].items(), key=lambda item: item[1]["best"] - item[1]["base"])
    test = summary["test"]
    whole = {
        "base": test["base"]["accuracy"],
        "best": test["best"]["accuracy"],
        "gain": test["gain"],
        "n": test["base"]["n"],
    }
    return [
        {
            "name": name,
            "all": skill is whole,
            "lost": lost_much(skill),
            "base": interval(skill["base"], skill["n"]),
            "best": interval(skill["best"], skill["n"]),
            "gain": skill["gain"],
            "n": skill["n"],
        }
        for name, skill in [*ordered, ("all", whole)]
    ]


def _iteration(run_dir: Path, line: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an iteration: its requests, its rows, and the student's errors after it."""
    files = line["files"]
    plans = _read(run_dir, files["plan"], Plan)
    accepted = _read(run_dir, files["accepted"], Row)
    rejected = _read(run_dir, files["rejected"], Rejected)
    errors = [p for p in read_jsonl(run_dir / point["predictions"], Prediction) if not p.correct]
    kept = Counter(row.provenance.request for row in accepted)
    requests = [request for plan in plans for request in plan.requests]
    numbers = ("asked", "received", "salvaged", "refilled", "accepted")
    varied = "–" if line["diversity"] is None else f"{line['diversity']:.2f}"
    return {
        "number": line["iteration"],
        "counts": [*(line[key] for key in numbers), varied],
        "rejected_by": ", ".join(f"{check} {count}" for check, count in line["rejected"].items()),
        "policy": ", ".join(plan.policy for plan in plans) or "none",
        "notes": " ".join(plan.notes for plan in plans),
        "training": line.get("training_notes", []),
        "diagnoses": _diagnoses(run_dir, line["iteration"]),
        "plan": _part(
            requests[:REQUESTS],
            len(requests),
            files["plan"],
            lambda r: {
                "skill": r.skill,
                "subskill": r.subskill,
                "asked": r.count,
                "accepted": kept[r.id],
                "reason": cut(r.reason),
            },
        ),
        "accepted": _part(
            _spread(accepted, ROWS),
            len(accepted),
            files["accepted"],
            lambda r: {"skill": r.skill, "question": cut(r.question), "answer": cut(r.answer)},
        ),
        "rejected": _part(
            _spread(rejected, REJECTED),
            len(rejected),
            files["rejected"],
            lambda r: {
                "check": r.verdicts[-1].check,
                "reason": cut(r.verdicts[-1].reason),
                "what": cut(str(r.row.get("question") or r.row)),
            },
        ),
        "errors": _part(
            _spread(errors, ERRORS),
            len(errors),
            point["predictions"],
            lambda p: {
                "skill": p.skill,
                "question": cut(p.question),
                "gold": cut(p.gold),
                "text": cut(p.text),
                "detail": cut(p.detail),
            },
        ),
    }


def _read(run_dir: Path, name: str | None, model: type[Any]) -> list[Any]:
    return read_jsonl(run_dir / name, model) if name else []


def _diagnoses(run_dir: Path, iteration: int) -> dict[str, Any]:
    """What a model read in the errors before the plan (`teacher.reader: model`); nothing where none read them."""
    file = Store.iteration(iteration, "feedback.jsonl")
    found = _read(run_dir, file, Feedback) if (run_dir / file).is_file() else []
    diagnoses = [one for feedback in found for one in feedback.diagnoses]
    return _part(
        diagnoses[:REQUESTS],
        len(diagnoses),
        file,
        lambda d: {
            "skill": d.skill,
            "problem": cut(d.problem),
            "practice": cut(d.practice),
            "examples": len(d.examples),
        },
    )


def _part(
    shown: Sequence[Item], count: int, path: str | None, show: Callable[[Item], dict[str, Any]]
) -> dict[str, Any]:
    return {"shown": [show(item) for item in shown], "count": count, "left": count - len(shown), "path": path}


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """Select at most `most` of the items, evenly spaced."""
    if len(items) <= most:
        return list(items)
    return [items[k * len(items) // most] for k in range(most)]


def cut(words: str) -> str:
    """Shorten a text to `TEXT` characters, and say how many it has."""
    return words if len(words) <= TEXT else f"{words[:TEXT]} … ({len(words):,} characters)"
