"""The environment's part of the config: which task, which student, how it is trained and asked."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Longest answer and longest training row, in tokens, where neither the config nor the task says.
ANSWER_TOKENS, ROW_TOKENS = 40, 512


class Section(BaseModel):
    """A config section: unknown keys are errors, values are not changed after they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskConfig(Section):
    """Which benchmark, and how it is split."""

    name: str = Field(
        "arithmetic",
        description="A registered task; `dataenvgym list tasks` names them.",
        json_schema_extra={"examples": ["arithmetic", "math", "gsm8k"]},
    )
    path: str | None = Field(None, description="Local file or folder in the data set's schema; null: the hub.")
    val_size: int | None = Field(
        None,
        ge=1,
        description="Val instances per stratum (arithmetic: skill, math: subject and level; "
        "gsm8k: in all). null: the task's own.",
    )
    test_size: int | None = Field(
        None, ge=1, description="Test instances (arithmetic: per skill; else in all). null: the whole split."
    )
    seed: int = Field(0, description="Draws the splits; keep it fixed to compare runs.")
    sandbox: Literal["bubblewrap", "rlimits"] = Field(
        "bubblewrap",
        description="Where untrusted programs run (code tasks). bubblewrap: no network, read-only system files, a "
        "private /tmp. rlimits: limits on processor, memory and output only; such a program can read your files "
        "and use the network.",
    )
    cpu_seconds: float = Field(5.0, gt=0, description="Processor time for one test of a program (code tasks).")


class GenerationConfig(Section):
    """How the student is asked. Greedy, so that a score is a property of the student alone."""

    batch_size: int = Field(256, ge=1, description="Prompts generated together, sorted by length.")
    max_new_tokens: int | None = Field(
        None, ge=1, description="Longest answer in tokens; null: the task's own, e.g. 40 for arithmetic."
    )


class TrainConfig(Section):
    """How the student is trained. Defaults: the settings measured best for the embedded student."""

    backend: Literal["loop", "trl"] = Field("loop", description="`loop`: the fast own loop; `trl`: SFTTrainer.")
    start: Literal["base", "last"] = Field(
        "base",
        description="`base`: a fresh adapter on all rows so far; `last`: go on from the last adapter "
        "with the new rows.",
    )
    epochs: int = Field(1, ge=1, description="Passes over the rows.")
    batch_size: int = Field(4, ge=1, description="Rows per optimiser step.")
    learning_rate: float = Field(1.5e-3, gt=0, description="Peak rate of the cosine schedule.")
    warmup_steps: int = Field(5, ge=0, description="Linear warm-up steps.")
    lora_rank: int = Field(16, ge=1, description="LoRA rank; alpha is twice the rank.")
    lora_layers: Literal["mlp", "all"] = Field(
        "mlp", description="Adapt the linear layers outside attention (a quarter faster, as good), or all."
    )
    last_layers: int | None = Field(None, ge=1, description="Adapt only this many top layers; null: all.")
    max_length: int | None = Field(
        None,
        ge=8,
        description="Longest training row in tokens; a longer one is cut, or left out if its prompt fills it. "
        "null: the task's own, e.g. 512 for arithmetic.",
    )


class StudentConfig(Section):
    """Which model learns."""

    name: str = Field(
        "uneven",
        description="A registered student (`dataenvgym list students`) or a hub id or folder.",
        json_schema_extra={"examples": ["uneven", "smollm2", "tiny"]},
    )
    device: str = Field(
        "auto",
        description="auto, cpu, cuda, cuda:1, ...",
        json_schema_extra={"examples": ["auto", "cpu", "cuda"]},
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 where it is fast.")
    train: TrainConfig = Field(default_factory=TrainConfig, description="How it is trained.")
    generation: GenerationConfig = Field(default_factory=GenerationConfig, description="How it is asked.")
