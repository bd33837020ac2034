"""Students by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dataenvgym.envs.config import ReplicaConfig, StudentConfig
from dataenvgym.envs.errors import ConfigError, UnknownNameError
from dataenvgym.envs.registry import Registry
from dataenvgym.envs.students.base import Student, TrainSummary
from dataenvgym.envs.types import Report, stage_progress

__all__ = ["STUDENTS", "Student", "StudentSpec", "TrainSummary", "check_name", "make_student"]


@dataclass(frozen=True)
class StudentSpec:
    """A registry entry: name and summary for `dataenvgym list students`, and the function to make the student."""

    name: str
    summary: str
    make: Callable[[StudentConfig, Report | None], Student]


def _uneven(config: StudentConfig, report: Report | None) -> Student:
    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.smollm import smollm_folder
    from dataenvgym.envs.students.uneven import schooled_adapter, schooling_key

    progress = stage_progress(report, "schooling the uneven student")
    folder = smollm_folder()
    return TransformersStudent(folder, schooling_key(), config, schooled_adapter(config, progress))


def _smollm(config: StudentConfig, report: Report | None) -> Student:
    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.smollm import smollm_folder

    return TransformersStudent(smollm_folder(), "smollm2", config)


def _tiny(config: StudentConfig, report: Report | None) -> Student:
    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.smollm import tiny_folder

    return TransformersStudent(tiny_folder(), "tiny-0", config)


STUDENTS: Registry[StudentSpec] = Registry("student", "dataenvgym.students")
STUDENTS.update(
    (spec.name, spec)
    for spec in (
        StudentSpec("uneven", "SmolLM2-135M-Instruct schooled on six of the twelve arithmetic skills", _uneven),
        StudentSpec("smollm2", "SmolLM2-135M-Instruct as it is", _smollm),
        StudentSpec("tiny", "a random two-layer model for tests; it learns next to nothing", _tiny),
    )
)


def check_name(name: str) -> None:
    """Refuse a name that is not registered, a folder or a hub id (UnknownNameError with the nearest name)."""
    if name not in STUDENTS and "/" not in name and not Path(name).is_dir():
        raise UnknownNameError("student", name, STUDENTS)


def make_student(config: StudentConfig, report: Report | None = None, folder: Path | None = None) -> Student:
    """Make the student `config.name`: a registered one, a folder with a model, or a hub id `org/name`.

    `folder`: where a server started for the student writes its log; None: the cache folder.

    Raises:
        UnknownNameError: none of these; the text names the nearest registered student.
        MissingDependencyError: the embedded weights are not installed.
        ConfigError: engine vllm, for a student that is not a Transformers model.
    """
    check_name(config.name)
    known = STUDENTS.get(config.name)
    make = partial(_make_with_engine, known.make if known else _plain, folder=folder)
    if config.replicas.count:
        from dataenvgym.envs.students.replicas import ReplicatedStudent

        single = config.model_copy(update={"replicas": ReplicaConfig()})
        return ReplicatedStudent(partial(make, single, None), config.replicas, config.generation.batch_size)
    return make(config, report)


def _plain(config: StudentConfig, report: Report | None) -> Student:
    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.identity import model_identity
    from dataenvgym.envs.students.prompt_form import VERSION

    # The students of this module have the same form in every version, and keep their keys.
    identity = f"{model_identity(config.name, report)}|form {VERSION}"
    return TransformersStudent(config.name, identity, config)


def _make_with_engine(
    make: Callable[[StudentConfig, Report | None], Student],
    config: StudentConfig,
    report: Report | None,
    folder: Path | None,
) -> Student:
    """Make a student and put it behind the engine in the config."""
    student = make(config, report)
    if config.engine == "transformers":
        return student
    from dataenvgym.envs.students.hf import TransformersStudent
    from dataenvgym.envs.students.vllm import VllmStudent

    if not isinstance(student, TransformersStudent):
        raise ConfigError(f"student.engine is vllm, but student {config.name!r} is not a Transformers model")
    return VllmStudent(student, config, folder)
