"""Skill discovery: a model labels each val instance with a skill and merges the labels into categories.

After Didolkar et al. 2024 as the paper uses it (section 2.1.2). Gold skills, where the data has them, are the
oracle. The result is a mapping from instance id to skill, saved in the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dataenvgym.agents.llm.asking import TeacherClient, gather_with_progress
from dataenvgym.agents.llm.schemas import CategoryItem, LabelItem
from dataenvgym.envs.evaluation import UNSKILLED
from dataenvgym.envs.types import Instance, Report, stage_progress

BATCH = 20  # instances per labelling call


def gold_skills(instances: Sequence[Instance]) -> dict[str, str]:
    """Return the data set's own skills; instances without one get "other"."""
    return {item.id: item.skill or UNSKILLED for item in instances}


async def discover_skills(
    instances: Sequence[Instance], client: TeacherClient, max_skills: int, report: Report | None = None
) -> dict[str, str]:
    """Label the instances, merge the labels, and assign a category to each instance.

    The model is asked once more for an instance that it left out or whose label is in no category (the latter with
    the categories to choose from). If that fails, the instance gets "other".
    """
    labels = await _label(instances, client, known=[], report=report)
    left = [item for item in instances if item.id not in labels]
    if left:
        labels |= await _label(left, client, known=sorted(set(labels.values())))
    category = await _merge(Counter(labels.values()), client, max_skills)
    found = {name: category[label] for name, label in labels.items() if label in category}
    lost = [item for item in instances if item.id not in found]
    names = set(category.values())
    if lost and names:
        again = await _label(lost, client, known=sorted(names))
        found |= {name: label for name, label in again.items() if label in names}
    return {item.id: found.get(item.id, UNSKILLED) for item in instances}


async def _label(
    instances: Sequence[Instance], client: TeacherClient, known: list[str], report: Report | None = None
) -> dict[str, str]:
    batches = [instances[i : i + BATCH] for i in range(0, len(instances), BATCH)]

    async def one(batch: Sequence[Instance]) -> dict[str, str]:
        shown = [{"id": item.id, "question": item.question} for item in batch]
        answer = await client.items(client.prompt("label_skills", instances=shown, known=known), LabelItem)
        asked = {item.id for item in batch}
        return {label.id: label.skill for label in answer.valid if label.id in asked}

    found: dict[str, str] = {}
    for labels in await gather_with_progress(
        [one(batch) for batch in batches], stage_progress(report, "calls to find skills")
    ):
        found |= labels
    return found


async def _merge(names: Counter[str], client: TeacherClient, max_skills: int) -> dict[str, str]:
    """Map skill names to categories. A name in two categories stays in the first.

    Names in no category, and those of the categories beyond `max_skills`, are left out.
    """
    shown = [{"name": name, "count": count} for name, count in sorted(names.items())]
    answer = await client.items(
        client.prompt("merge_skills", names=shown, max_categories=max_skills), CategoryItem
    )
    category: dict[str, str] = {}
    for item in answer.valid[:max_skills]:
        for member in item.members:
            if member in names:
                category.setdefault(member, item.name)
    return category
