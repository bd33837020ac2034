"""Own data as a task: a file, a folder or a data set of the hub, its columns and scorer named in the config."""

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.text import own_data
from dataenvgym.envs.domains.text.judging import load_own_scorer
from dataenvgym.envs.domains.text.options import CustomOptions
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task


@task(
    "custom",
    domain="text",
    summary="your own data: task.path names a file, a folder or hub:org/name",
    answer_tokens=128,
    row_tokens=1024,
    options=CustomOptions,
    prepare=load_own_scorer,
)
def load(config: TaskConfig) -> Task:
    """Own data from `config.path`, by the columns and the scorer of `config.options`; see `own_data.load`."""
    return own_data.load(config).task
