"""The environment's part of the config: which task, which student, how it is trained and asked."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

# Longest answer and longest training row, in tokens, where neither the config nor the task says.
ANSWER_TOKENS, ROW_TOKENS = 40, 512


class Section(BaseModel):
    """A config section: unknown keys are errors, values are not changed after they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _task_names(schema: dict[str, Any]) -> None:
    """Offer the names of the tasks there are, where a form is made of the config."""
    from dataenvgym.envs.tasks import TASKS

    schema["examples"] = list(TASKS)


class TaskConfig(Section):
    """Which benchmark, and how it is split."""

    name: str = Field(
        "arithmetic",
        description="A registered task; `dataenvgym list tasks` names them.",
        json_schema_extra=_task_names,
    )
    path: str | None = Field(None, description="Local file or folder in the data set's schema; null: the hub.")
    revision: str | None = Field(
        None,
        min_length=1,
        description="Commit, branch or tag of the data set on the hub; null: the newest. A run keeps the commit "
        "that it loads.",
    )
    val_size: int | None = Field(
        None,
        ge=1,
        description="Val instances per stratum (arithmetic, functions: skill; math: subject and level; "
        "others: in all). null: the task's own.",
    )
    test_size: int | None = Field(
        None,
        ge=1,
        description="Test instances (arithmetic, functions: per skill; others: in all). null: the whole split.",
    )
    seed: int = Field(0, description="Draws the splits; keep it fixed to compare runs.")
    scorer: str | None = Field(
        None,
        description="How answers are judged; `dataenvgym list scorers` names the ways. null: the task's own.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="What only this task reads; `dataenvgym list config --task NAME` shows its options.",
    )


class GenerationConfig(Section):
    """How the student is asked. Greedy, so that a score is a property of the student alone."""

    batch_size: int = Field(256, ge=1, description="Prompts generated together, sorted by length.")
    max_new_tokens: int | None = Field(
        None, ge=1, description="Longest answer in tokens; null: the task's own, e.g. 40 for arithmetic."
    )


class TrainConfig(Section):
    """How the student is trained. Defaults: the settings measured best for the embedded student."""

    backend: Literal["loop", "trl"] = Field("loop", description="`loop`: the fast own loop; `trl`: SFTTrainer.")
    method: Literal["sft", "dpo"] = Field(
        "sft",
        description="`sft`: learn the rows; `dpo`: learn to prefer each row's completion to the student's own "
        "wrong answer, by TRL's DPOTrainer (rows that the student answers rightly are not learnt). dpo wants a "
        "far lower learning_rate, e.g. 1e-4.",
    )
    beta: float = Field(0.1, gt=0, description="dpo: the higher, the closer to the student training starts from.")
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
    adapter: Literal["lora", "full"] = Field(
        "lora",
        description="`lora`; `full`: every weight (needs some ten times the memory, and learning_rate near 1e-5). "
        "The lora_* keys and last_layers are for lora.",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        description="Longest training row in tokens; a longer one is cut, or left out if its prompt fills it. "
        "null: the task's own, e.g. 512 for arithmetic.",
    )
    micro_batch: int | None = Field(
        None,
        ge=1,
        description="Rows computed at once; the gradients of batch_size rows are summed all the same. null: all "
        "of them. Halved by itself when memory runs out.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Keep fewer activations and compute them again: a third slower, far less memory."
    )
    liger: Literal["auto", "off"] = Field(
        "auto", description="auto: Liger's kernels on a GPU where the package liger-kernel is installed."
    )
    process: bool = Field(
        False,
        description="Train in a process of its own, which gives all memory back and whose crash is an error, not "
        "the end of the run.",
    )
    launch: str | None = Field(
        None,
        description="What starts that process in place of python, for several GPUs (backend trl or method dpo), "
        "e.g. `accelerate launch --num_processes 4 --config_file fsdp.yaml`; implies process.",
    )

    def identity(self) -> dict[str, object]:
        """What of it makes another student: all but how the work is done, and no key that has no effect.

        Keys that came later are left out at the value that means what was done before them, so that students
        trained then are found again.
        """
        left_out = {"micro_batch", "gradient_checkpointing", "liger", "process", "launch"}
        left_out |= {"method", "beta"} if self.method == "sft" else {"backend"}
        left_out |= {"adapter"} if self.adapter == "lora" else {"lora_rank", "lora_layers", "last_layers"}
        return self.model_dump(exclude=left_out)


class ReplicaConfig(Section):
    """The student in several Ray actors, on the GPUs of one machine or of a cluster (extra `ray`)."""

    count: int = Field(0, ge=0, description="Replicas that share the prompts; 0: one student, in this process.")
    num_cpus: float = Field(1, ge=0, description="Processors for each replica.")
    num_gpus: float = Field(0, ge=0, description="GPUs for each replica; a fraction shares one.")
    train_gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs for training: the replicas end while it runs, so theirs may be among them. null: the "
        "first replica trains, on its own.",
    )
    address: str = Field(
        "local",
        description="local starts Ray on this machine; auto or host:port joins a cluster, whose nodes must share "
        "the run folder.",
    )


class VllmConfig(Section):
    """The vLLM server that answers for the student (engine vllm)."""

    python: str | None = Field(
        None,
        description="The python of the environment vLLM is in; null: this one.",
    )
    address: str | None = Field(
        None,
        description="A server that runs already, e.g. http://127.0.0.1:8000/v1, its key in VLLM_API_KEY; it must "
        "see the run folder. null: one is started, and ended with the run.",
    )
    gpus: str | None = Field(
        None,
        description="GPUs of its own for the server, as CUDA_VISIBLE_DEVICES has them: '1' or '2,3'. null: those "
        "of the training.",
    )
    sleep: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether the server gives the GPU's memory back while the student trains. auto: where it "
        "shares the GPU.",
    )
    gpu_memory: float = Field(0.85, gt=0, le=1, description="Share of the GPU's memory for the server.")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that the server spreads the model over.")
    arguments: list[str] = Field(
        default_factory=list, description="Further arguments of `vllm serve`, e.g. [--max-model-len, '8192']."
    )
    start_seconds: float = Field(900, gt=0, description="Within which the server must be ready.")


class ChatTemplateConfig(BaseModel):
    """Variables of the model's chat template; a key of another name is one too, if the template reads it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str | int | float | bool | None] = Field(init=False)

    enable_thinking: bool = Field(
        False, description="Whether a model thinks before it answers, where its template lets one choose."
    )
    date_string: str = Field(
        "26 Jul 2024",
        description="What templates that print today's date print, so that a prompt is the same on every day.",
    )

    @field_validator("date_string")
    @classmethod
    def _is_a_date(cls, text: str) -> str:
        try:
            _date(text)
        except ValueError:
            raise ValueError("expected day month year, like 26 Jul 2024") from None
        return text

    def date(self) -> datetime:
        """Return the fixed date, at midnight."""
        return _date(self.date_string)


def _date(text: str) -> datetime:
    return datetime.strptime(text, "%d %b %Y")


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
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="What answers: this process, or a vLLM server (faster on a GPU)."
    )
    chat_template: ChatTemplateConfig = Field(
        default_factory=ChatTemplateConfig, description="Variables of its chat template."
    )
    train: TrainConfig = Field(default_factory=TrainConfig, description="How it is trained.")
    generation: GenerationConfig = Field(default_factory=GenerationConfig, description="How it is asked.")
    vllm: VllmConfig = Field(default_factory=VllmConfig, description="The server of engine vllm.")
    replicas: ReplicaConfig = Field(default_factory=ReplicaConfig, description="How many answer side by side.")
