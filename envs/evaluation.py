"""Score a student on instances, reusing cached predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.store import write_json
from dataenvgym.envs.students.base import Student
from dataenvgym.envs.types import Instance, Prediction, Progress

UNSKILLED = "other"


def predict_cached(
    student: Student, key: str, prompts: Sequence[str], progress: Progress | None = None
) -> list[str]:
    """Generate the loaded student's answers, or read them from the cache.

    `key` identifies the weights; equal key and prompts mean equal answers.
    """
    name = hashlib.sha256(json.dumps([key, student.generation_key, list(prompts)]).encode()).hexdigest()
    path = cache_dir() / "predictions" / f"{name[:32]}.json"
    try:
        held = json.loads(path.read_text())
        if isinstance(held, list) and len(held) == len(prompts) and all(isinstance(t, str) for t in held):
            return held
    except (OSError, ValueError):
        pass
    texts = student.predict(prompts, progress=progress)
    write_json(path, texts)
    return texts


def score(
    domain: Domain,
    instances: Sequence[Instance],
    texts: Sequence[str],
    skills: Mapping[str, str],
    progress: Progress | None = None,
) -> list[Prediction]:
    """Score one answer per instance. `skills` maps instance ids to skill names; `progress` is called as programs
    finish."""
    return [
        Prediction(
            id=item.id,
            skill=skills.get(item.id, item.skill or UNSKILLED),
            question=item.question,
            gold=item.answer,
            text=text,
            answer=found.answer,
            correct=found.correct,
            detail=found.detail,
        )
        for item, text, found in zip(instances, texts, domain.score(instances, texts, progress), strict=True)
    ]


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Compute the share of correct predictions; 0 without predictions."""
    return sum(p.correct for p in predictions) / len(predictions) if predictions else 0.0


def by_skill(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Group predictions by skill, in alphabetical order of skills."""
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.skill, []).append(prediction)
    return dict(sorted(groups.items()))
