"""The summary of a run, computed from its files: summary.json."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dataenvgym.agents.data_generator import NO_ROW
from dataenvgym.agents.llm.ledger import Ledger
from dataenvgym.envs.evaluation import UNSKILLED, accuracy, by_skill, partial_scores
from dataenvgym.envs.stats import curve_area, diversity, paired_gain, rows_to_target, wilson
from dataenvgym.envs.store import Store, read_jsonl
from dataenvgym.envs.teacher_env import TRAINED
from dataenvgym.envs.types import Plan, Prediction, Rejected, Row
from dataenvgym.graphs import answers
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.timing import totals

REASONS = 5
"""Reasons why replies failed that a summary tells."""


def best_step(steps: Sequence[Step]) -> Step:
    """Find the step with the best validation accuracy; of equals the earliest (fewer rows)."""
    return max(steps, key=lambda s: (s["accuracy"], -s["iteration"]))


def summarise(config: EpisodeConfig, run_dir: Path, steps: Sequence[Step], reason: str) -> dict[str, Any]:
    """Collect everything for the final report as JSON; accuracies are fractions with n and 95% intervals."""
    base = read_jsonl(run_dir / "test" / "base.jsonl", Prediction)
    best = read_jsonl(run_dir / "test" / "best.jsonl", Prediction)
    skills_base, skills_best = by_skill(base), by_skill(best)
    ledger = Ledger(run_dir / "ledger.jsonl")
    calls = ledger.totals()
    salvaged: Counter[int] = Counter()
    for record in ledger.records():
        if record.node == "generate_data":
            salvaged[record.iteration] += record.salvaged
    gain = paired_gain([p.correct for p in base], [p.correct for p in best])
    curve = [(s["rows"], s["accuracy"]) for s in steps]
    skills: dict[str, dict[str, Any]] = {
        name: {
            "base": accuracy(group),
            "best": accuracy(skills_best[name]),
            "n": len(group),
            "gain": paired_gain([p.correct for p in group], [p.correct for p in skills_best[name]])._asdict(),
        }
        for name, group in skills_base.items()
    }
    return {
        "task": config.task.name,
        "structure": config.structure,
        "state": config.state,
        "student": config.student.name,
        "teacher": {"model": config.teacher.model_names(), "policy": config.policy_name()},
        "seed": config.seed,
        "iterations": len(steps) - 1,
        "rows_accepted": steps[-1]["rows"],
        "rows_rejected": sum(s["rejected"]["count"] for s in steps if s["rejected"]),
        "rows": [
            {**_rows(run_dir, step, salvaged[step["iteration"]]), **_training(run_dir, step, before)}
            for before, step in pairwise(steps)
        ],
        "calls": calls.calls,
        "calls_by_node": _by_node(ledger),
        "cached_calls": calls.cached,
        "tokens": {"prompt": calls.prompt_tokens, "completion": calls.completion_tokens},
        "unmetered_calls": calls.unmetered,
        "cost": calls.cost,
        "unpriced_calls": calls.unpriced,
        **_replies(ledger),
        "stop_reason": reason,
        "budget": config.budget.model_dump(mode="json"),
        "val": [_val(run_dir, step) for step in steps],
        "val_area": curve_area(curve),
        "rows_to_target": None if config.budget.target is None else rows_to_target(curve, config.budget.target),
        "best_iteration": best_step(steps)["iteration"],
        "skills": skills,
        "unskilled": sum(p.skill == UNSKILLED for p in Store(run_dir).read(steps[0]["predictions"], Prediction)),
        "lost": [name for name, s in skills.items() if s["best"] < s["base"]],
        "test": {
            "base": _scored(base),
            "best": _scored(best),
            "gain": gain._asdict(),
            "score_gains": _score_gains(base, best),
        },
        "answers": answers.totals(run_dir),
        "seconds": totals(run_dir),
    }


def _by_node(ledger: Ledger) -> list[dict[str, Any]]:
    """Sum the calls of each node to each model, in the order of their first calls."""
    nodes = list(dict.fromkeys((record.node, record.model) for record in ledger.records()))
    return [{"node": node, "model": model, **ledger.totals(node, model)._asdict()} for node, model in nodes]


def _replies(ledger: Ledger) -> dict[str, Any]:
    """What was amiss in the replies: why items failed (the commonest reasons with counts), how many LaTeX commands
    were repaired, and which parameters the model refuses."""
    records = list(ledger.records())
    reasons = Counter(reason for record in records for reason in record.reasons)
    return {
        "failed_replies": dict(reasons.most_common(REASONS)),
        "repaired": sum(record.repaired for record in records),
        "left_out": records[-1].left_out if records else [],
    }


def _val(run_dir: Path, step: Step) -> dict[str, Any]:
    """Make a point of the curve, overall and per skill. `predictions`: the file that it is computed from."""
    predictions = Store(run_dir).read(step["predictions"], Prediction)
    groups = by_skill(predictions)
    return {
        "iteration": step["iteration"],
        "rows": step["rows"],
        "accuracy": step["accuracy"],
        "n": step["n"],
        "scores": _scores(predictions),
        "skills": {name: {"accuracy": accuracy(group), "n": len(group)} for name, group in groups.items()},
        "predictions": step["predictions"]["path"],
    }


def _rows(run_dir: Path, step: Step, salvaged: int) -> dict[str, Any]:
    """Account for the rows of an iteration. `received`: rows of the schema, each accepted or rejected; `salvaged`:
    those of cut or partly invalid replies; `refilled`: accepted rows of refill rounds; `rejected`: counts by
    check, including malformed items and failed calls (`schema`, `call`, `budget`); `skills`: accepted rows of
    each; `files`: the files of the plan and the rows, None where the iteration has none."""
    store = Store(run_dir)
    refs = {"plan": step["plan"], "accepted": step["accepted"], "rejected": step["rejected"]}
    plan = store.read(refs["plan"], Plan) if refs["plan"] else []
    accepted = store.read(refs["accepted"], Row) if refs["accepted"] else []
    rejected = store.read(refs["rejected"], Rejected) if refs["rejected"] else []
    by_check = Counter(record.verdicts[-1].check for record in rejected)
    lost = sum(by_check[check] for check in NO_ROW)
    return {
        "iteration": step["iteration"],
        "asked": sum(request.count for one in plan for request in one.requests),
        "received": len(accepted) + len(rejected) - lost,
        "salvaged": salvaged,
        "refilled": sum(row.provenance.round > 0 for row in accepted),
        "accepted": len(accepted),
        "rejected": dict(by_check.most_common()),
        "diversity": diversity([row.question for row in accepted]),
        "skills": dict(sorted(Counter(row.skill for row in accepted).items())),
        "files": {key: ref["path"] if ref else None for key, ref in refs.items()},
    }


def _training(run_dir: Path, step: Step, before: Step) -> dict[str, Any]:
    """What the training of an iteration noted. `left_out`: rows whose prompt alone is too long to train on;
    `training_notes`: in words, e.g. how many rows were cut. Both are empty where nothing was trained."""
    key = step["student"]
    file = run_dir / "students" / (key or "") / TRAINED
    told = json.loads(file.read_text()) if key and key != before["student"] and file.is_file() else {}
    return {"left_out": told.get("left_out", 0), "training_notes": told.get("notes", [])}


def _scored(predictions: Sequence[Prediction]) -> dict[str, Any]:
    interval = wilson(sum(p.correct for p in predictions), len(predictions))
    return {
        "accuracy": accuracy(predictions),
        "n": len(predictions),
        "low": interval.low,
        "high": interval.high,
        "scores": _scores(predictions),
    }


def _scores(predictions: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """The mean of each partial score with its interval; `n`: the predictions that it applies to."""
    return {
        name: {**wilson(math.fsum(values), len(values))._asdict(), "n": len(values)}
        for name, values in partial_scores(predictions).items()
    }


def _score_gains(base: Sequence[Prediction], best: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """By how much each partial score rose on the instances that it applies to before and after."""
    gains = {}
    for name in partial_scores(base):
        pairs = [
            (p.scores[name], q.scores[name])
            for p, q in zip(base, best, strict=True)
            if name in p.scores and name in q.scores
        ]
        gains[name] = paired_gain([before for before, _ in pairs], [after for _, after in pairs])._asdict()
    return gains
