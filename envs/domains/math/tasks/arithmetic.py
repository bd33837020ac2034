"""The embedded benchmark: three splits drawn from twelve procedural skills, no download."""

from collections.abc import Iterable
from dataclasses import replace

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.tasks.arithmetic_skills import SCHOOLED, SKILLS, identity, problem
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.procedural import Problem, UsedProblems, draw_split, take_all
from dataenvgym.envs.types import Instance

TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 60, 30, 40
"""Instances per skill."""


@task("arithmetic", domain="math", summary="twelve procedural skills, embedded", gold_skills=True, embedded=True)
def load(config: TaskConfig) -> Task:
    """The task: per skill 60 train, `val_size` (30) val and `test_size` (40) test instances.

    Every skill gives its variants in turn. No problem is in two splits, in any phrasing. The test split
    depends on the seed and its own size alone; the val split avoids test, the train split avoids both.

    Raises:
        ConfigError: a skill has too few distinct problems for the sizes asked.
    """
    taken = UsedProblems()
    # The order matters: what is drawn first does not depend on the sizes of what follows.
    test = _split("test", config.seed, config.test_size or TEST_SIZE, SKILLS, taken)
    val = _split("val", config.seed, config.val_size or VAL_SIZE, SKILLS, taken)
    train = _split("train", config.seed, TRAIN_SIZE, SKILLS, taken)
    return Task("arithmetic", replace(MATH, identity=identity), tuple(train), tuple(val), tuple(test))


def schooling_rows(seed: int, per_skill: int, task: Task) -> list[Instance]:
    """Training problems of the schooled skills that stand in no split of `task`, in any phrasing.

    Raises:
        ConfigError: a skill has too few distinct problems left.
    """
    taken = UsedProblems()
    take_all(taken, (*task.train, *task.val, *task.test))
    return _split("schooling", seed, per_skill, SCHOOLED, taken)


def _split(split: str, seed: int, size: int, skills: Iterable[str], taken: UsedProblems) -> list[Instance]:
    variants = {skill: SKILLS[skill].variants for skill in skills}
    return draw_split(
        "arithmetic",
        split,
        seed,
        size,
        variants,
        lambda skill, index, variant: problem(skill, seed, index, variant),
        _instance,
        taken,
    )


def _instance(name: str, drawn: Problem) -> Instance:
    return Instance(
        id=name,
        question=drawn.question,
        answer=drawn.answer,
        solution=drawn.solution,
        skill=drawn.skill,
        extra={"variant": drawn.variant, "key": drawn.key},
    )
