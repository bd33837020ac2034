"""Hendrycks MATH: 12,500 competition problems in seven subjects and five levels (arXiv 2103.03874)."""

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.domains.math.scoring.answers import boxed
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.hub import HubSource, read
from dataenvgym.envs.tasks.records import Record
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.types import Instance

COLUMNS = ("problem", "level", "type", "solution")
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
# One schema; the second comes in one part per subject.
HUB = (HubSource("DigitalLearningGmbH/MATH-lighteval"), HubSource("EleutherAI/hendrycks_math", SUBJECTS))
VAL_PER_STRATUM = 10


@task(
    "math",
    domain="math",
    summary="Hendrycks MATH, competition problems",
    gold_skills=True,
    answer_tokens=768,
    row_tokens=1280,
)
def load(config: TaskConfig) -> Task:
    """MATH from the hub, or from `config.path` in the same schema: problem, level, type, solution.

    The answer is the last `\\boxed{}` of the solution; the skill is the subject; `extra` has the level.
    Val: `config.val_size` (default 10) per subject and level, drawn from train, at most half of a stratum.
    Test: the official 5,000, or `config.test_size` of them. A source without splits of its own (one file)
    is divided: a fifth is test, then val, then train; see `splits.make_task`.

    Raises:
        DataError: a missing column, or a solution without a boxed answer.
        MissingDependencyError: the hub cannot be reached.
    """
    splits = read(config, HUB)
    return make_task(config, MATH, splits, _instance, _stratum, config.val_size or VAL_PER_STRATUM)


def _instance(identity: str, record: Record) -> Instance:
    problem, level, subject, solution = (record.text(column, COLUMNS) for column in COLUMNS)
    answer = boxed(solution)
    if answer is None:
        raise DataError(f"{record.where}: no \\boxed{{}} answer in column 'solution'.")
    return Instance(
        id=identity,
        question=problem.strip(),
        answer=" ".join(answer.split()),
        solution=solution.strip(),
        skill=subject,
        extra={"level": level},
    )


def _stratum(instance: Instance) -> str:
    return f"{instance.skill}/{instance.extra['level']}"
