"""What the parts of benchmarks/gpu.py share: the models, the rows, a training, and the work it needs."""

import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from student import mixed_rows

from dataenvgym.envs.config import GenerationConfig, StudentConfig, TrainConfig
from dataenvgym.envs.students import make_student
from dataenvgym.envs.students.hf import TransformersStudent
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.types import Example

# The shape of Llama 3.2 1B, and of a third of it; and what a CPU can do.
SHAPES = {
    "billion": (128_256, 2048, 8192, 16, 32, 8),
    "third": (32_000, 1024, 4096, 18, 16, 8),
    "toy": (512, 64, 128, 2, 4, 2),
}


@dataclass
class Setting:
    """What all parts share. `rows`: of the speed; `tokens`: of a row of equal length."""

    folder: Path
    toy: bool
    rounds: int
    peak: float | None

    @property
    def device(self) -> str:
        return "cpu" if self.toy else "cuda"

    def size(self, count: int) -> int:
        return max(4, count // 40) if self.toy else count

    @property
    def row_tokens(self) -> int:
        return 60 if self.toy else 600

    def student(self, shape: str = "billion", new_tokens: int = 64, **settings: Any) -> TransformersStudent:
        model = make_llama(self.folder / shape, SHAPES["toy" if self.toy else shape])
        made = make_student(
            StudentConfig(
                name=str(model),
                device=self.device,
                generation=GenerationConfig(batch_size=256, max_new_tokens=self.size(new_tokens)),
                **{"dtype": "bfloat16", **settings},
            )
        )
        assert isinstance(made, TransformersStudent)
        return made

    def equal(self, count: int, size: int | None = None) -> list[Example]:
        """Rows of as many tokens each, template included, half of them learnt."""
        half = (size or self.row_tokens) // 2
        words = ("abcd efgh " * half)[: half - 16]
        return [Example(f"{number:05d} {words}", f"{words[::-1]} {number:05d}") for number in range(count)]

    def mixed(self, count: int) -> list[Example]:
        return mixed_rows(count, self.row_tokens * 3 // 2)


def config(**settings: Any) -> TrainConfig:
    few = {"batch_size": 16, "max_length": 1024, "lora_layers": "all", "learning_rate": 1e-4, "warmup_steps": 1}
    return TrainConfig.model_validate({**few, **settings})


def make_llama(folder: Path, shape: tuple[int, ...]) -> Path:
    """A Llama of that shape (vocabulary, hidden and inner size, layers, heads, key heads) with random weights in
    bfloat16, over bytes; made once."""
    if folder.is_dir():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from dataenvgym.envs.students.smollm import _byte_tokenizer

    names = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    tokenizer = _byte_tokenizer()
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    settings = LlamaConfig(
        **dict(zip(names, shape, strict=True)),
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        dtype="bfloat16",
        **ends,
    )
    with quiet_transformers(), torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(settings).to(torch.bfloat16)
    with quiet_transformers():
        model.cpu().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def release() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def flops(student: TransformersStudent, rows: list[Example], adapter: str = "lora") -> float:
    """What training on these rows once needs."""
    import torch

    encoded = [row for row in (student._encode(e, 1024) for e in rows) if row is not None]
    tokens = sum(len(row.ids) for row in encoded)
    learnt = sum(len(row.ids) - row.prompt for row in encoded)
    model = student._base()
    layers = [m.weight for m in model.get_decoder().modules() if isinstance(m, torch.nn.Linear)]
    weights = sum(weight.numel() for weight in layers)
    adapters = sum(config().lora_rank * sum(weight.shape) for weight in layers) if adapter == "lora" else 0
    head = model.get_output_embeddings().weight.numel()
    width = model.config.num_attention_heads * model.config.head_dim * model.config.num_hidden_layers
    attention = 6 * width * sum(len(row.ids) ** 2 for row in encoded)  # two products, half masked, three passes
    each = 4 if adapter == "lora" else 6
    return each * (weights * tokens + head * learnt) + 6 * adapters * tokens + attention


def train(student: TransformersStudent, rows: list[Example], ours: TrainConfig, out: Path | None = None) -> Any:
    """The summary of a training in this process, whose student is dropped unless `out` is to keep it."""
    with tempfile.TemporaryDirectory() as folder:
        summary = student.train(rows, out or Path(folder) / "student", config=ours, seed=0)
    if out is None:
        student.close()
    return summary


def utilisation(setting: Setting, flops_per_second: float) -> float | None:
    return None if setting.peak is None else round(flops_per_second / (setting.peak * 1e12), 6)
