"""GSM8K: grade-school word problems, 7,473 for training and 1,319 for testing (arXiv 2110.14168)."""

import re

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.math.domain import MATH
from dataenvgym.envs.errors import DataError
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.hub import HubSource, read
from dataenvgym.envs.tasks.records import Record
from dataenvgym.envs.tasks.splits import make_task
from dataenvgym.envs.types import Instance

COLUMNS = ("question", "answer")
HUB = (HubSource("openai/gsm8k", ("main",)),)
VAL_SIZE = 300
_CALCULATOR = re.compile(r"<<[^<>]*>>")


@task("gsm8k", domain="math", summary="grade-school word problems", answer_tokens=320, row_tokens=640)
def load(config: TaskConfig) -> Task:
    """GSM8K from the hub, or from `config.path` in the same schema: question, answer.

    The answer follows `####`; the text before it, without the `<<...>>` calculator notes, is the solution.
    There are no gold skills. Val: `config.val_size` (default 300) drawn from train, at most half of it.
    Test: the official split, or `config.test_size` of it. A source without splits of its own (one file)
    is divided: a fifth is test, then val, then train; see `splits.make_task`.

    Raises:
        DataError: a missing column, or an answer without `####`.
        MissingDependencyError: the hub cannot be reached.
    """
    splits = read(config, HUB)
    return make_task(config, MATH, splits, _instance, lambda _: "", config.val_size or VAL_SIZE)


def _instance(identity: str, record: Record) -> Instance:
    question, worked = (record.text(column, COLUMNS) for column in COLUMNS)
    solution, mark, answer = worked.rpartition("####")
    if not mark or not answer.strip():
        raise DataError(f"{record.where}: no '#### answer' at the end of column 'answer'.")
    return Instance(
        id=identity,
        question=question.strip(),
        answer=" ".join(answer.split()),
        solution=_CALCULATOR.sub("", solution).strip(),
    )
