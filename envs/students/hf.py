"""The Transformers + PEFT student, on CPU or GPU."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dataenvgym.envs.cache import cache_dir, made_once
from dataenvgym.envs.config import ANSWER_TOKENS, ROW_TOKENS, ChatTemplateConfig, StudentConfig, TrainConfig
from dataenvgym.envs.errors import ConfigError, DataError
from dataenvgym.envs.students import lora_products, row_attention, weights
from dataenvgym.envs.students.base import TrainSummary
from dataenvgym.envs.students.generate import greedy
from dataenvgym.envs.students.loop import fit
from dataenvgym.envs.students.meter import Meter, Watch
from dataenvgym.envs.students.packed import pack_linear
from dataenvgym.envs.students.preference import Pair, fit_dpo
from dataenvgym.envs.students.prompt_form import PromptForm
from dataenvgym.envs.students.quiet import quiet_transformers
from dataenvgym.envs.students.steps import EncodedRow
from dataenvgym.envs.students.training_process import TrainSpec, train_in_subprocess
from dataenvgym.envs.students.trl_backend import fit_trl, is_main, sharded, world_size
from dataenvgym.envs.types import Example, Progress

SUMMARY = "train.json"


class TransformersStudent:
    """A causal language model in a folder (or a hub id), with LoRA adapters or trained whole.

    `adapter`: the folder of an adapter that is part of the base (the schooling of the schooled student); it is
    merged at load time. `identity` names the weights and the tokenizer; identity, number format and the options of
    the chat template determine `base_key`.
    """

    def __init__(
        self, model: str | Path, identity: str, config: StudentConfig, adapter: Path | None = None
    ) -> None:
        self._path, self._name, self._config, self._base_adapter = str(model), identity, config, adapter
        self.device = _device(config.device)
        self.dtype = _dtype(config.dtype, self.device)
        parts = [identity, self.dtype]
        if config.chat_template != ChatTemplateConfig():  # so that the defaults keep the key from before them
            parts.append(json.dumps(config.chat_template.model_dump(mode="json"), sort_keys=True))
        self.base_key = hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
        self.generation_key = json.dumps(config.generation.model_dump(), sort_keys=True)
        self._tokenizer: Any = None
        self._form: PromptForm | None = None
        self._model: Any = None
        self._loaded: tuple[int, int] | None = None
        self._adapter: Path | None = None

    def load(self, adapter: Path | None) -> None:
        """Answer with this adapter, or this whole model, from now on; it is read at the next prediction."""
        self._adapter = adapter

    def predict(
        self, prompts: Sequence[str], images: Sequence[str] | None = None, progress: Progress | None = None
    ) -> list[str]:
        """Return greedy answers. Raises DataError for images: this student reads text only."""
        if images is not None:
            raise DataError(f"student {self._config.name!r} reads text only, but images were given")
        if not prompts:
            return []
        model, tokenizer = self._merged(), self._get_tokenizer()
        generation = self._config.generation
        answers = greedy(
            model,
            [self.prompt_ids(p) for p in prompts],
            max_new_tokens=generation.max_new_tokens or ANSWER_TOKENS,
            end_tokens=self._ends(model.generation_config),
            pad_token=tokenizer.pad_token_id,
            batch_size=generation.batch_size,
            progress=progress,
        )
        return [self.text(tokens) for tokens in answers]

    def train(
        self,
        examples: Sequence[Example],
        out: Path,
        *,
        config: TrainConfig,
        seed: int,
        start: Path | None = None,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> TrainSummary:
        """Train into `out`: adapter_model.safetensors and adapter_config.json, or a whole model; and train.json.

        After a training in this process the model stays in memory and answers for that folder, even renamed,
        without a load. After one in a separate process (`config.process`) it is loaded. `watch` gets the loss and
        speed of each step.

        Raises:
            ConfigError: incompatible settings.
            DataError: no row to learn from, images, or no rejected text for method dpo.
            TrainingError: memory ran out, the loss became NaN or infinite (DivergedError), or the process died.
        """
        self._check(examples, config)
        self.close()  # two copies of the weights would not fit where one barely does
        if config.process or config.launch:
            spec = TrainSpec(
                model=self._path,
                identity=self._name,
                student=self._config,
                base_adapter=self._base_adapter,
                examples=list(examples),
                train=config.model_copy(update={"process": False, "launch": None}),
                seed=seed,
                start=start,
                out=out,
            )
            return train_in_subprocess(spec, config.launch, progress)
        return self._train_here(examples, out, config, seed, start, Meter(self.device, progress, watch))

    def close(self) -> None:
        """Free the weights; they are loaded again when needed."""
        self._model, self._loaded = None, None
        gc.collect()  # TRL's trainers leave a model that refers to itself
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()

    def prompt_ids(self, prompt: str) -> list[int]:
        """Tokenize a prompt, as in training and scoring alike: a user turn, then the assistant's opening."""
        return self._get_form().prompt_ids(prompt)

    def shown(self, prompt: str) -> str:
        """Return a prompt as the model gets it, with special tokens visible."""
        return self._get_form().shown(prompt)

    def answer_key(self, prompts: Sequence[str]) -> str:
        """Digest what answers depend on besides weights and settings: the prompts' tokens, and what computes."""
        packages = {name: version(name) for name in ("torch", "transformers")}
        digest = hashlib.sha256(json.dumps([packages, self.device.partition(":")[0], self.dtype]).encode())
        for prompt in prompts:
            form = self._get_form()
            digest.update(json.dumps([form.prompt_ids(prompt), form.end]).encode())
        return digest.hexdigest()

    def text(self, tokens: Sequence[int]) -> str:
        """Decode an answer's tokens, without special tokens and surrounding white space."""
        found: str = self._get_tokenizer().decode(tokens, skip_special_tokens=True)
        return found.strip()

    def end_tokens(self) -> frozenset[int]:
        """Return the tokens that end an answer, as in `predict`, without reading the weights."""
        from transformers import AutoConfig, GenerationConfig

        with weights.explain_missing(self._path):
            try:
                settings = GenerationConfig.from_pretrained(self._path)
            except OSError:
                settings = GenerationConfig.from_model_config(AutoConfig.from_pretrained(self._path))
        return self._ends(settings)

    def plain_model(self) -> str:
        """Return the folder or hub id of the base as a model without an adapter.

        An adapter that is part of the base is merged into a copy in the cache, once.
        """
        if self._base_adapter is None:
            return self._path

        def make(out: Path) -> None:
            weights.write(self._base(), out, self.dtype)
            self._get_tokenizer().save_pretrained(out)

        return str(made_once(cache_dir() / "models" / f"{self._base_adapter.name}-{self.dtype}-merged", make))

    def _check(self, examples: Sequence[Example], config: TrainConfig) -> None:
        if not examples:
            raise DataError("there are no rows to train on")
        if any(e.image is not None for e in examples):
            raise DataError(f"student {self._config.name!r} reads text only, but a training row has an image")
        if config.method == "dpo" and any(e.rejected is None for e in examples):
            raise DataError("student.train.method is dpo, but a row has no rejected text")
        if world_size() > 1 and config.method == "sft" and config.backend == "loop":
            raise ConfigError("student.train.backend: backend loop trains in one process; several need trl")
        trl = config.method == "dpo" or config.backend == "trl"
        if trl and self.device.startswith("cuda") and self.device not in ("cuda", "cuda:0"):
            raise ConfigError(
                f"student.device is {self.device!r}, but TRL (method dpo, backend trl) trains on the first "
                f"visible GPU. Use device 'cuda' with CUDA_VISIBLE_DEVICES={self.device[5:]} in the environment"
            )

    def _train_here(
        self,
        examples: Sequence[Example],
        out: Path,
        config: TrainConfig,
        seed: int,
        start: Path | None,
        meter: Meter,
    ) -> TrainSummary:
        import torch

        torch.manual_seed(seed)
        longest = config.max_length or ROW_TOKENS
        encoded = [self._encode(e, longest) for e in examples]
        kept = [(row, e) for row, e in zip(encoded, examples, strict=True) if row is not None]
        if not kept:
            raise DataError(
                f"the prompt of every training row fills student.train.max_length = {longest} tokens, "
                f"which leaves no room for an answer, e.g. {examples[0].prompt[:80]!r}"
            )
        rows = [row for row, _ in kept]
        if warning := _too_long(encoded, longest):
            meter.note(warning)
        # Weights in bfloat16 would lose most small steps to rounding, so full training keeps them in float32 and
        # computes in bfloat16.
        mixed = config.adapter == "full" and self.dtype == "bfloat16"
        with quiet_transformers():
            model = self._trainable(config, start, mixed)
        tokenizer = self._get_tokenizer()
        gathered = None
        if config.method == "dpo":
            pairs = [Pair(r.ids[: r.prompt], r.ids[r.prompt :], self._rejected(r, e, longest)) for r, e in kept]
            summary, gathered = fit_dpo(
                model, tokenizer, pairs, config=config, seed=seed, meter=meter, mixed=mixed
            )
        elif config.backend == "trl":
            summary, gathered = fit_trl(model, tokenizer, rows, config=config, seed=seed, meter=meter, mixed=mixed)
        else:
            if config.gradient_checkpointing:
                weights.checkpoint_layers(model, True)
            pad = tokenizer.pad_token_id
            summary = fit(model, rows, config=config, seed=seed, pad_token=pad, meter=meter, mixed=mixed)
        if config.gradient_checkpointing:
            weights.checkpoint_layers(model, False)
        if len(rows) < len(encoded):
            summary = _with_left_out(summary, encoded)
        if is_main():
            out.mkdir(parents=True, exist_ok=True)
            weights.write(model, out, self.dtype, gathered)
            (out / SUMMARY).write_text(json.dumps(asdict(summary)))
            if world_size() == 1:
                self._keep(model.merge_and_unload() if config.adapter == "lora" else model, out)
        return summary

    def _get_tokenizer(self) -> Any:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            with weights.explain_missing(self._path):
                tokenizer = AutoTokenizer.from_pretrained(self._path)
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._tokenizer = tokenizer
        return self._tokenizer

    def _get_form(self) -> PromptForm:
        if self._form is None:
            self._form = PromptForm(self._get_tokenizer(), self._config.chat_template)
        return self._form

    def _ends(self, settings: Any) -> frozenset[int]:
        """Return the tokens that end an answer, of the generation config, the tokenizer and the prompt form."""
        named = settings.eos_token_id
        ends = {self._get_tokenizer().eos_token_id, self._get_form().end}
        ends.update(named if isinstance(named, list) else [named])
        return frozenset(token for token in ends if token is not None)

    def _encode(self, example: Example, max_length: int) -> EncodedRow | None:
        """Tokenize a row and cut it at `max_length`; None if the prompt alone fills it."""
        prompt = self.prompt_ids(example.prompt)
        ids = [*prompt, *self._get_form().completion_ids(example.completion, example.prompt)]
        room = len(prompt) < min(len(ids), max_length)
        return EncodedRow(ids[:max_length], len(prompt), cut=len(ids) > max_length) if room else None

    def _rejected(self, row: EncodedRow, example: Example, max_length: int) -> list[int]:
        found = self._get_form().completion_ids(example.rejected or "", example.prompt)
        return found[: max_length - row.prompt]

    def _base(self, dtype: str | None = None, **options: Any) -> Any:
        return weights.read_model(self._path, dtype or self.dtype, self._place, self._base_adapter, **options)

    @property
    def _place(self) -> str:
        """Where to load weights: accelerate moves each process's share to its GPU, which may not fit all."""
        return "cpu" if sharded() else self.device

    def _student(self, folder: Path | None, dtype: str, **options: Any) -> Any:
        """Load a trained student (None: the base) with its adapter merged."""
        if folder is not None and weights.is_whole(folder):
            return weights.read_model(folder, dtype, self._place, **options)
        model = self._base(dtype, **options)
        return model if folder is None else weights.merge(model, folder)

    def _merged(self) -> Any:
        if self._model is None or self._loaded != weights.fingerprint(self._adapter):
            self.close()
            self._keep(self._student(self._adapter, self.dtype), self._adapter)
        return self._model

    def _keep(self, merged: Any, adapter: Path | None) -> None:
        self._model, self._loaded = pack_linear(merged.eval()), weights.fingerprint(adapter)

    def _trainable(self, config: TrainConfig, start: Path | None, mixed: bool) -> Any:
        dtype = "float32" if mixed else self.dtype
        flash = weights.flash_attention() if config.backend == "trl" and self.device.startswith("cuda") else None
        options = {"attn_implementation": flash} if flash else {}
        base = self._student(start, dtype, **options) if config.adapter == "full" else self._base(dtype, **options)
        if config.liger == "auto":
            weights.apply_liger(base, self.device)
        # Our loop keeps float32 copies of weights in bfloat16; FSDP needs one number format for all weights.
        own_loop = config.method == "sft" and config.backend == "loop"
        if own_loop:
            row_attention.install(base, mixed)
        model = weights.make_trainable(base, config, start, exact=not own_loop and not sharded())
        if own_loop and self.device.startswith("cuda") and config.adapter == "lora":
            lora_products.fuse(model)
        return model


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"student.device is {asked!r}, but torch sees no GPU; use 'cpu' or 'auto'")
    return asked


def _dtype(asked: str, device: str) -> str:
    """Resolve `auto`: bfloat16 on GPUs and on CPUs with instructions for it (others are 5 times slower in it)."""
    import torch

    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bfloat16"
    capable = torch.cpu.get_capabilities()
    return "bfloat16" if capable.get("avx512_bf16") or capable.get("amx_bf16") else "float32"


def _too_long(encoded: Sequence[EncodedRow | None], longest: int) -> str:
    """Return a warning about rows longer than the limit of a training row; "" if there are none."""
    cut, out = sum(row is not None and row.cut for row in encoded), sum(row is None for row in encoded)
    of = f"of {len(encoded)} rows"
    parts = [f"{cut} {of} cut, so that the student learns an answer without its end"] if cut else []
    parts += [f"{out} {of} left out, whose prompt alone is as long"] if out else []
    return f"longer than student.train.max_length = {longest} tokens: {'; '.join(parts)}" if parts else ""


def _with_left_out(summary: TrainSummary, encoded: Sequence[EncodedRow | None]) -> TrainSummary:
    """Return the summary with an entry in `hits` for each row given, including those left out."""
    hits = None if summary.hits is None else iter(summary.hits)
    return replace(
        summary,
        left_out=sum(row is None for row in encoded),
        hits=None if hits is None else [row is not None and next(hits) for row in encoded],
    )
