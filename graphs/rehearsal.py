"""Rehearse a teacher's first iteration without a student, on an observation made up in a folder."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from dataenvgym.agents.checks import find_check
from dataenvgym.agents.llm.chat_models import SCRIPTED
from dataenvgym.envs.config import StudentConfig
from dataenvgym.envs.evaluation import score
from dataenvgym.envs.store import Store
from dataenvgym.envs.students import Student
from dataenvgym.envs.teacher_env import TeacherEnv
from dataenvgym.graphs.config import EpisodeConfig
from dataenvgym.graphs.episode import budget_left, find_skills
from dataenvgym.graphs.resources import task_of
from dataenvgym.graphs.state import TeacherInput


def offline(config: EpisodeConfig) -> EpisodeConfig:
    """Change the config to the scripted model and the tiny student, which a node may ask.

    Caps, approval and checks that need a student are left out.
    """
    llm = config.teacher.llm.model_copy(update={"model": SCRIPTED, "base_url": None, "cache": False})
    names = [name for name in config.teacher.checks.names if find_check(name).cost != "student"]
    checks = config.teacher.checks.model_copy(update={"names": names})
    teacher = config.teacher.model_copy(update={"llm": llm, "models": {}, "checks": checks})
    uncapped = config.budget.model_copy(update={"max_calls": None, "max_tokens": None, "max_cost": None})
    student = StudentConfig(name="tiny")
    changed = {"teacher": teacher, "student": student, "approve": False, "budget": uncapped}
    return config.model_copy(update=changed)


async def rehearsed_input(config: EpisodeConfig, folder: Path) -> TeacherInput:
    """Make the teacher's input in iteration 1, for a student that gets every other val instance right.

    The observation is written into `folder`, as in a run. Skills come from the source in the config, which may
    be the config's model.
    """
    task = await asyncio.to_thread(task_of, config)
    skills = await find_skills(config, str(folder))
    texts = [task.domain.render_answer("", i.answer) if n % 2 else "" for n, i in enumerate(task.val)]
    predictions = await asyncio.to_thread(score, task.domain, task.val, texts, skills)
    student = cast(Student, None)  # observing uses no student
    env = TeacherEnv(task, student, config.student_config().train, folder)
    observation = env.observe(
        structure=config.structure,
        state=config.state,
        iteration=1,
        budget=budget_left(config, 0),
        evaluations=[predictions],
        lessons=[],
    )
    reference = await asyncio.to_thread(Store(folder).save, Store.iteration(1, "observation.jsonl"), [observation])
    return {"run_dir": str(folder), "iteration": 1, "observation": reference, "earlier": []}
