"""The episode's config: the YAML file, the command line's --set, the graphs' context and Studio's form in one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    create_model,
    model_validator,
)

from dataenvgym.agents.checks import find_check
from dataenvgym.agents.config import MODEL_NODES, TeacherConfig
from dataenvgym.agents.llm.chat_models import provider_of
from dataenvgym.agents.policies import find_policy
from dataenvgym.envs.config import Section, StudentConfig, TaskConfig
from dataenvgym.envs.errors import ConfigError
from dataenvgym.envs.explain import explain
from dataenvgym.envs.loading import import_once, is_file
from dataenvgym.envs.scorers import SCORERS
from dataenvgym.envs.students import check_name
from dataenvgym.envs.tasks import TASKS, options_of

Structure = Literal["open_ended", "skill_list", "skill_tree"]
STRUCTURES: tuple[Structure, ...] = get_args(Structure)


ALIKE = 0.75
"""From this likeness of 0 to 1 on, a name is taken for a misspelt one."""
CONFIG_FILE = "config.yaml"
"""The config of a run, in its folder."""


class BudgetConfig(Section):
    """When an episode ends. Counts are cumulative over the episode."""

    iterations: int = Field(3, ge=1, description="Iterations of teach, train, evaluate.")
    rows_per_iteration: int = Field(72, ge=1, description="Accepted rows a teacher may add per iteration.")
    rows: int | None = Field(None, ge=1, description="Accepted rows in all; null: no limit of its own.")
    max_calls: int | None = Field(
        None, ge=1, description="Requests to the teacher's model, repeats after an unusable reply included."
    )
    max_tokens: int | None = Field(None, ge=1, description="Prompt and completion tokens of the teacher's model.")
    max_cost: float | None = Field(None, gt=0, description="US dollars for the teacher's model.")
    patience: int | None = Field(
        None, ge=1, description="Stop after so many iterations without a better validation accuracy."
    )
    target: float | None = Field(None, gt=0, le=1, description="Stop at this validation accuracy (0 to 1).")


class EpisodeConfig(Section):
    """Everything that defines an episode; saved in the run folder as config.yaml."""

    # `langgraph_nodes`: the nodes at which LangGraph Studio offers the field; `examples`: its suggestions.

    task: TaskConfig = Field(
        default_factory=TaskConfig, description="The benchmark.", json_schema_extra={"langgraph_nodes": ["reset"]}
    )
    structure: Structure = Field("skill_tree", description="What the teacher sees and may do.")
    state: bool = Field(True, description="false: the baseline without state, feedback withheld.")
    student: StudentConfig = Field(
        default_factory=StudentConfig,
        description="The model that learns.",
        json_schema_extra={"langgraph_nodes": ["reset", "train", "evaluate", "finish"]},
    )
    teacher: TeacherConfig = Field(
        default_factory=TeacherConfig,
        description="The graph that teaches.",
        json_schema_extra={
            "langgraph_nodes": ["teach", "read_feedback", "plan_data", "generate_data", "verify_data"]
        },
    )
    budget: BudgetConfig = Field(
        default_factory=BudgetConfig,
        description="When the episode ends.",
        json_schema_extra={"langgraph_nodes": ["evaluate"]},
    )
    skills: str = Field(
        "auto",
        description="auto: gold skills where the data has them, else llm; gold; llm: discovered by the "
        "teacher's model; or the path of a skills.json saved by another run.",
        json_schema_extra={"langgraph_nodes": ["reset"], "examples": ["auto", "gold", "llm"]},
    )
    max_skills: int = Field(
        20,
        ge=1,
        description="Most categories that skill discovery may make.",
        json_schema_extra={"langgraph_nodes": ["reset"]},
    )
    subskill_rows: int = Field(
        8,
        ge=0,
        description="Rows of each subskill that the trained student answers, for its accuracy; 0: none. "
        "Only with the structure skill_tree and with state.",
        json_schema_extra={"langgraph_nodes": ["evaluate"]},
    )
    approve: bool = Field(
        False,
        description="Stop before generation for a person to approve the plan.",
        json_schema_extra={"langgraph_nodes": ["teach", "plan_data", "approve_plan"]},
    )
    seed: int = Field(0, description="Everything drawn at random comes from it.")
    imports: list[str] = Field(
        default_factory=list,
        description="Your own modules or .py files, run whenever this config is read: they register tasks, "
        "students or checks that the config then names.",
    )

    def student_config(self) -> StudentConfig:
        """Return the section `student`, with the task's lengths where it sets none."""
        spec, student = TASKS.find(self.task.name), self.student
        lengths = {"max_new_tokens": student.generation.max_new_tokens or spec.answer_tokens}
        rows = {"max_length": student.train.max_length or spec.row_tokens}
        return student.model_copy(
            update={
                "generation": student.generation.model_copy(update=lengths),
                "train": student.train.model_copy(update=rows),
            }
        )

    def rows_answered(self) -> int:
        """Return how many rows of each subskill the student answers: none where no planner sees the subskills."""
        return self.subskill_rows if self.state and self.structure == "skill_tree" else 0

    def policy_name(self) -> str:
        """Return the name of the planning policy, defaults resolved, or of the graph that replaces it."""
        if self.teacher.graph is not None:
            return Path(self.teacher.graph).name
        if self.state and self.teacher.policy is not None and ":" in self.teacher.policy:
            return Path(self.teacher.policy).name
        return find_policy(self.structure, self.teacher.policy, self.state).name


class _ContextConfig(EpisodeConfig):
    """A config that a server passes in: what is wrong with it is told as on the command line."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_words(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(given)
        except ValidationError as error:
            raise ConfigError(faults("the context", error)) from None


def faults(source: str, error: ValidationError) -> str:
    """List what is wrong with a config, a line for each fault, with the nearest valid names."""
    lines = [explain(one, EpisodeConfig, moved=_moved()) for one in error.errors()]
    return "\n".join([f"{source} is not valid:", *lines])


def config_for(structure: Structure) -> type[EpisodeConfig]:
    """Make a config schema with another default structure, as the context of that structure's graph."""
    return create_model(
        f"{structure.title().replace('_', '')}Config",
        __base__=_ContextConfig,
        structure=(Structure, Field(structure, description="What the teacher sees and may do.")),
    )


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> EpisodeConfig:
    """Load the config from a YAML file (None: all defaults) and apply `key.sub=value` overrides.

    Raises:
        ConfigError: an unreadable file, an unknown key, a wrong type or range; the text names each key.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not a text file in UTF-8 ({error.reason})") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not valid YAML: {error}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(f"{path}: expected keys and values, got {type(loaded).__name__}")
        data = loaded or {}
    for override in overrides:
        _set(data, override)
    return parse_config(data, str(path) if path else "config")


def parse_config(data: Mapping[str, Any], source: str = "config") -> EpisodeConfig:
    """Validate a mapping as a config, including the names in registries (task, scorer, student, policy, check).

    The modules under `imports` run first, so that they can register names. A config that comes over the network
    (Studio) is not parsed here, so nothing is imported for it.
    """
    try:
        config = EpisodeConfig.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(faults(source, error)) from None
    for module in config.imports:
        import_once(module)
    spec = TASKS.find(config.task.name)
    options = options_of(config.task, spec.options)
    if spec.prepare is not None:
        spec.prepare(options)
    task = config.task.model_copy(update={"options": options.model_dump(mode="json")})
    config = config.model_copy(update={"task": task})
    check_name(config.student.name)
    teacher = config.teacher
    named = {"graph": _absolute(teacher.graph), "policy": _absolute(teacher.policy)}
    config = config.model_copy(update={"teacher": teacher.model_copy(update=named)})
    if ":" not in (teacher.policy or ""):
        find_policy(config.structure, teacher.policy, config.state)
    for name in config.teacher.checks.names:
        find_check(name)
    if config.task.scorer is not None:
        SCORERS.find(config.task.scorer)
    if teacher.graph is None:  # a graph from Python may have more nodes: `fingerprints` checks those
        teacher.check_nodes(n for n in teacher.models if not get_close_matches(n, MODEL_NODES, 1, ALIKE))
    for model in config.teacher.all_models().values():
        provider_of(model)
    if config.teacher.prompts is not None and not Path(config.teacher.prompts).is_dir():
        raise ConfigError(f"teacher.prompts: {config.teacher.prompts} does not exist or is not a folder")
    return config


def _absolute(name: str | None) -> str | None:
    """Make the path in `file.py:name` absolute, so that a run finds it from any folder."""
    where, colon, attribute = (name or "").rpartition(":")
    return f"{Path(where).expanduser().absolute()}:{attribute}" if colon and is_file(where) else name


def dump_config(config: EpisodeConfig) -> str:
    """Write the config as YAML with every key."""
    return yaml.safe_dump(json.loads(config.model_dump_json()), sort_keys=False)


def changed_keys(before: EpisodeConfig, after: EpisodeConfig) -> list[str]:
    """List the keys, e.g. `budget.rows`, in which two configs differ."""
    old, new = (dict(_flat(config.model_dump())) for config in (before, after))
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key=value, e.g. --set budget.iterations=5")
    at = data
    *parents, last = key.strip().split(".")
    for parent in parents:
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} holds a value, not keys")
    try:
        at[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML: {error}") from error


def _moved() -> dict[str, str]:
    """Map keys that are options of a task to their place, for error messages."""
    found: dict[str, str] = {}
    for spec in TASKS.values():
        for key in spec.options.model_fields:
            found.setdefault(f"task.{key}", f"task.options.{key}, an option of {spec.name}")
            if f"an option of {spec.name}" not in found[f"task.{key}"]:
                found[f"task.{key}"] += f" and {spec.name}"
    return found


def describe(model: type[BaseModel] = EpisodeConfig, prefix: str = "") -> list[tuple[str, str, str]]:
    """List (key, default, description) of every config key, including those of sections."""
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += describe(field.annotation, f"{prefix}{name}.")
        else:
            default = field.get_default(call_default_factory=True)
            rows.append((prefix + name, json.dumps(default), field.description or ""))
    return rows
