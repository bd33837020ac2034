"""The embedded tool-use task: three splits of requests drawn from ten procedural skills, no download."""

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.domains.tool_use.domain import tool_domain, tools_of
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.catalogue import CATALOGUE
from dataenvgym.envs.domains.tool_use.tasks.tool_calls.requests import SKILLS, identity, problem, read, tools_shown
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task
from dataenvgym.envs.tasks.procedural import Problem, draw_splits
from dataenvgym.envs.tool_text import with_tools
from dataenvgym.envs.types import Instance

REFERENCES = '"$1" is the result of the first call.'
TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 40, 24, 40
"""Instances per skill."""
ANSWER_TOKENS = 80
"""The longest gold answer has 70 tokens."""


def prompt(item: Item) -> str:
    """The tools, how a call uses the result of another, and the request."""
    return with_tools(tools_of(item, CATALOGUE), f"{REFERENCES}\n{item.question}")


@task(
    "tool_calls",
    domain="tool_use",
    summary="one to three calls of everyday tools, ten skills, embedded",
    gold_skills=True,
    embedded=True,
    answer_tokens=ANSWER_TOKENS,
)
def load(config: TaskConfig) -> Task:
    """The task: per skill 40 train, `val_size` (24) val and `test_size` (40) test instances.

    Every skill gives its variants in turn. No request is in two splits, in any phrasing. The test split depends on
    the seed and its own size alone; the val split avoids test, the train split avoids both.

    Raises:
        ConfigError: a skill has too few distinct requests for the sizes asked.
    """
    splits = draw_splits(
        "tool_calls",
        config.seed,
        {"test": config.test_size or TEST_SIZE, "val": config.val_size or VAL_SIZE, "train": TRAIN_SIZE},
        {name: skill.variants for name, skill in SKILLS.items()},
        lambda skill, index, variant: problem(skill, config.seed, index, variant),
        _instance,
    )
    domain = tool_domain(CATALOGUE, prompt=prompt, identity=identity)
    return Task("tool_calls", domain, splits["train"], splits["val"], splits["test"])


def _instance(name: str, drawn: Problem) -> Instance:
    asked = read(drawn.question)
    if asked is None:
        raise RuntimeError(f"no skill reads its own question {drawn.question!r}")
    return Instance(
        id=name,
        question=drawn.question,
        answer=drawn.answer,
        solution=drawn.solution,
        skill=drawn.skill,
        extra={"tools": tools_shown(asked), "variant": drawn.variant, "key": drawn.key},
    )
