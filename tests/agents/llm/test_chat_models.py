"""Chat models by name: wrong names, missing keys and packages, Azure."""

from pathlib import Path

import pytest
from gateway_calls import KEY, ask, make, rows
from openai_server import (
    OpenAIServer,
)

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.chat_models import build_chat_model
from dataenvgym.agents.llm.gateway import Gateway
from dataenvgym.agents.llm.throttle import Throttle
from dataenvgym.envs.errors import (
    ConfigError,
    MissingDependencyError,
    UnknownNameError,
)


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("opnai:gpt", UnknownNameError, "'openai'"),
        ("vllm:x", UnknownNameError, "openai"),
        ("gpt-4o-mini", ConfigError, "openai:gpt-4o-mini"),
        ("openai:", ConfigError, "provider:model"),
    ],
)
def test_a_misspelt_model_is_told_before_any_call(model: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Gateway(TeacherModelConfig(model=model), seed=0, cache=None, ledger=None)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("openai:gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("azure_openai:mine", "OPENAI_API_VERSION"),
    ],
)
def test_a_missing_key_is_named(model: str, says: str, tmp_path: Path) -> None:
    config = TeacherModelConfig(model=model)
    with pytest.raises(MissingDependencyError, match=says):
        build_chat_model(config, 0, Throttle(config))
    gateway = Gateway(config, seed=0, cache=None, ledger=None)
    with pytest.raises(MissingDependencyError, match=says):
        ask(gateway)


def test_a_missing_provider_package_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.setitem(sys.modules, "langchain_groq", None)
    config = TeacherModelConfig(model="groq:llama")
    with pytest.raises(MissingDependencyError, match="pip install langchain-groq") as caught:
        build_chat_model(config, 0, Throttle(config))
    assert KEY not in str(caught.value)


def test_azure_uses_the_base_url_as_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    with OpenAIServer(rows) as server:
        found = ask(make(server.url.removesuffix("/v1"), tmp_path, model="azure_openai:mine"))
    assert len(found.valid) == 2
    assert server.headers[0]["api-key"] == KEY
