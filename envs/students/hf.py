"""The transformers + PEFT student, on CPU or GPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dataenvgym.envs.config import ANSWER_TOKENS, ROW_TOKENS, StudentConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError, DataError, MissingDependencyError
from dataenvgym.envs.students.base import Progress, TrainSummary
from dataenvgym.envs.students.generate import greedy
from dataenvgym.envs.students.loop import Encoded, fit
from dataenvgym.envs.students.packed import pack_linear
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.types import Example

SUMMARY = "train.json"
WEIGHTS = "adapter_model.safetensors"


class TransformersStudent:
    """A causal language model in a folder (or a hub id), with LoRA adapters trained on top of it.

    `adapter`: a folder with an adapter that belongs to the base (the schooled student's schooling); it is
    merged in at load time. `identity` names the weights; together with the number format it makes `base_key`.
    """

    def __init__(
        self, model: str | Path, identity: str, config: StudentConfig, adapter: Path | None = None
    ) -> None:
        self._path, self._config, self._base_adapter = str(model), config, adapter
        self._device = _device(config.device)
        self._dtype = _dtype(config.dtype, self._device)
        self.base_key = hashlib.sha256(f"{identity}|{self._dtype}".encode()).hexdigest()[:16]
        self.generation_key = json.dumps(config.generation.model_dump(), sort_keys=True)
        self._tokenizer: Any = None
        self._model: Any = None
        self._loaded: tuple[int, int] | None = None
        self._adapter: Path | None = None

    def load(self, adapter: Path | None) -> None:
        """Answer with this adapter from now on (weights are read at the next prediction)."""
        self._adapter = adapter

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Greedy answers. Raises DataError when images are given: this student reads text only."""
        if images is not None:
            raise DataError(f"student {self._config.name!r} reads text only, but images were given")
        if not prompts:
            return []
        model, tokenizer = self._merged(), self._get_tokenizer()
        generation = self._config.generation
        answers = greedy(
            model,
            [self._prompt_ids(p) for p in prompts],
            max_new_tokens=generation.max_new_tokens or ANSWER_TOKENS,
            end_tokens=_end_tokens(model, tokenizer),
            pad_token=tokenizer.pad_token_id,
            batch_size=generation.batch_size,
            progress=progress,
        )
        texts: list[str] = tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [t.strip() for t in texts]

    def train(
        self,
        examples: Sequence[Example],
        out: Path,
        *,
        config: TrainConfig,
        seed: int,
        start: Path | None = None,
        progress: Progress | None = None,
    ) -> TrainSummary:
        """Train an adapter into `out` (adapter_model.safetensors, adapter_config.json, train.json).

        The trained model stays in memory and answers for that folder, renamed or not, without a load.
        """
        import torch

        if not examples:
            raise DataError("there are no rows to train on")
        if any(e.image is not None for e in examples):
            raise DataError(f"student {self._config.name!r} reads text only, but a training row has an image")
        self.close()  # two copies of the weights would not fit where one barely does
        torch.manual_seed(seed)
        with quiet_transformers():
            model = self._trainable(config, start)
        tokenizer = self._get_tokenizer()
        longest = config.max_length or ROW_TOKENS
        encoded = [self._encode(e, longest) for e in examples]
        rows = [row for row in encoded if row is not None]
        if not rows:
            raise DataError(
                f"the prompt of every training row fills student.train.max_length = {longest} tokens, "
                f"which leaves no room for an answer, e.g. {examples[0].prompt[:80]!r}"
            )
        if config.backend == "trl":
            from dataenvgym.envs.students.trl_backend import fit_trl

            summary = fit_trl(model, tokenizer, rows, config=config, seed=seed, progress=progress)
        else:
            summary = fit(
                model, rows, config=config, seed=seed, pad_token=tokenizer.pad_token_id, progress=progress
            )
        if len(rows) < len(encoded):
            summary = _with_left_out(summary, encoded)
        out.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(str(out), safe_serialization=True)
        (out / SUMMARY).write_text(json.dumps(asdict(summary)))
        self._keep(model.merge_and_unload(), out)
        return summary

    def close(self) -> None:
        """Free the weights; they are read again when needed."""
        self._model, self._loaded = None, None
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def _get_tokenizer(self) -> Any:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            with _found(self._path):
                tokenizer = AutoTokenizer.from_pretrained(self._path)
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._tokenizer = tokenizer
        return self._tokenizer

    def _prompt_ids(self, prompt: str) -> list[int]:
        """The one prompt form, in training and in scoring: a user turn, then the assistant's opening."""
        tokenizer = self._get_tokenizer()
        if tokenizer.chat_template is None:
            text = f"{prompt}\n"
        else:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            )
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _encode(self, example: Example, max_length: int) -> Encoded | None:
        """The tokens of a row, cut at `max_length`; None where the prompt alone fills it."""
        prompt = self._prompt_ids(example.prompt)
        tokenizer = self._get_tokenizer()
        completion = tokenizer(example.completion, add_special_tokens=False)["input_ids"]
        ids = [*prompt, *completion, tokenizer.eos_token_id][:max_length]
        return Encoded(ids, len(prompt)) if len(prompt) < len(ids) else None

    def _base(self) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        with quiet_transformers(), _found(self._path):
            model = AutoModelForCausalLM.from_pretrained(self._path, dtype=getattr(torch, self._dtype))
            if self._base_adapter is not None:
                model = _merge(model, self._base_adapter)
        return model.to(self._device)

    def _merged(self) -> Any:
        if self._model is None or self._loaded != _identity(self._adapter):
            self.close()
            model = self._base()
            if self._adapter is not None:
                model = _merge(model, self._adapter)
            self._keep(model, self._adapter)
        return self._model

    def _keep(self, merged: Any, adapter: Path | None) -> None:
        self._model, self._loaded = pack_linear(merged.eval()), _identity(adapter)

    def _trainable(self, config: TrainConfig, start: Path | None) -> Any:
        import peft

        base = self._base()
        if start is not None:
            return peft.PeftModel.from_pretrained(
                base, str(start), is_trainable=True, autocast_adapter_dtype=False
            )
        layers: int = base.config.num_hidden_layers
        lora = peft.LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * config.lora_rank,
            lora_dropout=0.0,
            target_modules=_linear_layers(base, config.lora_layers),
            layers_to_transform=(
                None if config.last_layers is None else list(range(max(0, layers - config.last_layers), layers))
            ),
            task_type="CAUSAL_LM",
        )
        with quiet_transformers():
            return peft.get_peft_model(base, lora, autocast_adapter_dtype=False)


@contextmanager
def _found(path: str) -> Iterator[None]:
    """Say in plain words that a model is not there; transformers raises OSError for it."""
    try:
        yield
    except OSError as error:
        raise MissingDependencyError(
            f"student.name: no model can be loaded from {path!r} ({str(error).splitlines()[0]}). Name a folder "
            "with a transformers model, or a model of the hub that is in its cache or can be downloaded."
        ) from error


def _identity(adapter: Path | None) -> tuple[int, int] | None:
    """The adapter's file, by what a rename of its folder leaves as it is."""
    if adapter is None:
        return None
    found = (adapter / WEIGHTS).stat()
    return found.st_ino, found.st_mtime_ns


def _merge(model: Any, adapter: Path) -> Any:
    import peft

    with quiet_transformers():
        adapted = peft.PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    return adapted.merge_and_unload()


def _linear_layers(model: Any, which: str) -> list[str]:
    """Names of the decoder's linear layers: all, as PEFT's "all-linear" picks them (it cannot be combined with
    a choice of layers), or those outside attention, which learn as much alone (Schulman et al. 2025, "LoRA
    Without Regret"; docs/measurements.md)."""
    import torch

    head = model.get_output_embeddings()
    paths = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    outside = [path for path in paths if "attn" not in path and "attention" not in path]
    chosen = outside if which == "mlp" and outside else paths
    return sorted({path.rsplit(".", 1)[-1] for path in chosen})


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    named = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return frozenset(t for t in ends if t is not None)


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"student.device is {asked!r}, but torch sees no GPU; use 'cpu' or 'auto'")
    return asked


def _dtype(asked: str, device: str) -> str:
    """auto: bfloat16 on GPUs and on CPUs with instructions for it (others are 5 times slower in it)."""
    import torch

    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bfloat16"
    capable = torch.cpu.get_capabilities()
    return "bfloat16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "float32"


def _with_left_out(summary: TrainSummary, encoded: Sequence[Encoded | None]) -> TrainSummary:
    """The summary with an entry in `hits` for each row that was given, also for those left out."""
    hits = None if summary.hits is None else iter(summary.hits)
    return replace(
        summary,
        left_out=sum(row is None for row in encoded),
        hits=None if hits is None else [row is not None and next(hits) for row in encoded],
    )
