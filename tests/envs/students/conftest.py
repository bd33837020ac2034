"""A model whose answers differ, made once."""

from pathlib import Path

import pytest

from dataenvgym.envs.students import smollm


@pytest.fixture(scope="module")
def wild(tmp_path_factory: pytest.TempPathFactory, own_cache: bool) -> Path:
    """A model whose answers differ from prompt to prompt; the tiny student's are nearly all alike."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "wild"
    config = AutoConfig.from_pretrained(smollm.tiny_folder())
    config.tie_word_embeddings, config.initializer_range = False, 0.3
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(smollm.tiny_folder()).save_pretrained(folder)
    return folder
