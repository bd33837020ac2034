"""The embedded code task: three splits of small Python functions drawn from ten procedural skills, no download."""

from dataenvgym.envs.config import TaskConfig
from dataenvgym.envs.domains.base import Item
from dataenvgym.envs.domains.code.domain import CodeOptions, code_domain
from dataenvgym.envs.domains.code.tasks.functions.skills import SKILLS, identity, problem, program_fields, read
from dataenvgym.envs.tasks import task
from dataenvgym.envs.tasks.base import Task, options_of
from dataenvgym.envs.tasks.procedural import Problem, draw_splits
from dataenvgym.envs.types import Instance

INSTRUCTION = "Write Python code."
TRAIN_SIZE, VAL_SIZE, TEST_SIZE = 40, 24, 40
"""Instances per skill."""
ANSWER_TOKENS = 64
"""The longest gold program has 45 tokens; a student that explains itself has the room to end its code."""


def prompt(item: Item) -> str:
    """The instruction, then the question, which names the function and its arguments."""
    return f"{INSTRUCTION}\n{item.question}"


@task(
    "functions",
    domain="code",
    summary="small Python functions of ten skills, embedded",
    gold_skills=True,
    embedded=True,
    answer_tokens=ANSWER_TOKENS,
    options=CodeOptions,
)
def load(config: TaskConfig) -> Task:
    """The task: per skill 40 train, `val_size` (24) val and `test_size` (40) test instances.

    Every skill gives its variants in turn. No problem is in two splits, in any phrasing or under any name of the
    function or its arguments. The test split depends on the seed and its own size alone; the val split avoids
    test, the train split avoids both.

    Raises:
        ConfigError: a skill has too few distinct problems for the sizes asked.
    """
    splits = draw_splits(
        "functions",
        config.seed,
        {"test": config.test_size or TEST_SIZE, "val": config.val_size or VAL_SIZE, "train": TRAIN_SIZE},
        {name: skill.variants for name, skill in SKILLS.items()},
        lambda skill, index, variant: problem(skill, config.seed, index, variant),
        _instance,
    )
    domain = code_domain(options_of(config, CodeOptions), prompt, identity=identity)
    return Task("functions", domain, splits["train"], splits["val"], splits["test"])


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
        extra={**program_fields(asked), "entry": asked.function, "variant": drawn.variant, "key": drawn.key},
    )
