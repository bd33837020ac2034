"""Score a student on instances, reusing cached predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dataenvgym.envs.cache import cache_dir
from dataenvgym.envs.domains.base import Domain
from dataenvgym.envs.store import write_json
from dataenvgym.envs.students.base import Student, answer_key
from dataenvgym.envs.types import Instance, Prediction, Progress, Row

UNSKILLED = "other"


class Answers(NamedTuple):
    """One text per prompt, and how many of them came from the cache: all or none."""

    texts: list[str]
    cached: int


def predict_cached(
    student: Student, key: str, prompts: Sequence[str], progress: Progress | None = None
) -> Answers:
    """Generate the loaded student's answers, or read them from the cache.

    `key` identifies the weights. It, the student's settings and own key of answers, and the prompts make the
    answers: where all are equal, so are the answers.
    """
    own = answer_key(student, prompts)
    made_by = [key, student.generation_key, list(prompts), *([own] if own else [])]
    name = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()
    path = cache_dir() / "predictions" / f"{name[:32]}.json"
    try:
        held = json.loads(path.read_text())
        if isinstance(held, list) and len(held) == len(prompts) and all(isinstance(t, str) for t in held):
            return Answers(held, len(held))
    except (OSError, ValueError):
        pass
    texts = student.predict(prompts, progress=progress)
    write_json(path, texts)
    return Answers(texts, 0)


def score(
    domain: Domain,
    instances: Sequence[Instance | Row],
    texts: Sequence[str],
    skills: Mapping[str, str],
    progress: Progress | None = None,
) -> list[Prediction]:
    """Score one answer per instance or row. `skills` maps ids to skill names; where it has none, the item's own
    counts. `progress` is called as programs finish."""
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
            scores=dict(found.scores),
        )
        for item, text, found in zip(instances, texts, domain.score(instances, texts, progress), strict=True)
    ]


def accuracy(predictions: Sequence[Prediction]) -> float:
    """Compute the share of correct predictions; 0 without predictions."""
    return sum(p.correct for p in predictions) / len(predictions) if predictions else 0.0


def partial_scores(predictions: Sequence[Prediction]) -> dict[str, list[float]]:
    """Collect the partial scores by name, in the order of their first mention; each has the predictions that it
    applies to."""
    found: dict[str, list[float]] = {}
    for prediction in predictions:
        for name, value in prediction.scores.items():
            found.setdefault(name, []).append(value)
    return found


def by_skill(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """Group predictions by skill, in alphabetical order of skills."""
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.skill, []).append(prediction)
    return dict(sorted(groups.items()))
