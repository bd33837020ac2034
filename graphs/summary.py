"""What came out of a run, from its files: summary.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataenvgym.agents.ledger import Ledger
from dataenvgym.envs.evaluation import accuracy, by_skill
from dataenvgym.envs.stats import curve_area, paired_gain, rows_to_target, wilson
from dataenvgym.envs.store import read_jsonl
from dataenvgym.envs.types import Prediction
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.state import Step
from dataenvgym.graphs.timing import totals


def best_step(steps: Sequence[Step]) -> Step:
    """The step with the best validation accuracy; the earliest of equals (fewer rows)."""
    return max(steps, key=lambda s: (s["accuracy"], -s["iteration"]))


def summarise(config: EpisodeConfig, run_dir: Path, steps: Sequence[Step], reason: str) -> dict[str, Any]:
    """Everything the final report shows, as JSON: accuracies are fractions with n and 95% intervals."""
    base = read_jsonl(run_dir / "test" / "base.jsonl", Prediction)
    best = read_jsonl(run_dir / "test" / "best.jsonl", Prediction)
    skills_base, skills_best = by_skill(base), by_skill(best)
    calls = Ledger(run_dir / "ledger.jsonl").totals()
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
        "teacher": {"model": config.teacher.llm.model, "policy": config.policy_name()},
        "seed": config.seed,
        "iterations": len(steps) - 1,
        "rows_accepted": steps[-1]["rows"],
        "rows_rejected": sum(s["rejected"]["count"] for s in steps if s["rejected"]),
        "calls": calls.calls,
        "cached_calls": calls.cached,
        "tokens": {"prompt": calls.prompt_tokens, "completion": calls.completion_tokens},
        "unmetered_calls": calls.unmetered,
        "cost": calls.cost,
        "stop_reason": reason,
        "val": [
            {"iteration": s["iteration"], "rows": s["rows"], "accuracy": s["accuracy"], "n": s["n"]} for s in steps
        ],
        "val_area": curve_area(curve),
        "rows_to_target": None if config.budget.target is None else rows_to_target(curve, config.budget.target),
        "best_iteration": best_step(steps)["iteration"],
        "skills": skills,
        "lost": [name for name, s in skills.items() if s["best"] < s["base"]],
        "test": {"base": _scored(base), "best": _scored(best), "gain": gain._asdict()},
        "seconds": totals(run_dir),
    }


def _scored(predictions: Sequence[Prediction]) -> dict[str, float]:
    interval = wilson(sum(p.correct for p in predictions), len(predictions))
    return {
        "accuracy": accuracy(predictions),
        "n": len(predictions),
        "low": interval.low,
        "high": interval.high,
    }
