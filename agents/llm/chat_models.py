"""Build the chat model that a config names, and explain how to fix it when it cannot be reached."""

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.agents.llm.throttle import Throttle
from dataenvgym.envs.errors import ConfigError, MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

SCRIPTED = "scripted"


class Provider(NamedTuple):
    """What a provider needs: its PyPI package, and environment variables (any one of each group)."""

    package: str
    keys: tuple[str, ...]
    settings: tuple[str, ...] = ()


PROVIDERS: dict[str, Provider] = {
    "anthropic": Provider("langchain-anthropic", ("ANTHROPIC_API_KEY",)),
    "azure_openai": Provider(
        "langchain-openai", ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"), ("OPENAI_API_VERSION",)
    ),
    "deepseek": Provider("langchain-deepseek", ("DEEPSEEK_API_KEY",)),
    "google_genai": Provider("langchain-google-genai", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
    "groq": Provider("langchain-groq", ("GROQ_API_KEY",)),
    "mistralai": Provider("langchain-mistralai", ("MISTRAL_API_KEY",)),
    "openai": Provider("langchain-openai", ("OPENAI_API_KEY",)),
}
_OPENAI = ("openai", "azure_openai")


def provider_of(config: TeacherModelConfig) -> str:
    """The provider that `config.model` names, or `scripted`.

    Raises:
        ConfigError: the model is not written `provider:model`.
        UnknownNameError: no such provider.
    """
    provider, colon, name = config.model.partition(":")
    if provider == SCRIPTED:
        return SCRIPTED
    if colon and provider not in PROVIDERS:
        raise UnknownNameError("model provider", provider, [*PROVIDERS, SCRIPTED])
    if not name:
        raise ConfigError(
            f"model {config.model!r} must be written provider:model, e.g. openai:{provider}, "
            f"or be 'scripted'. Providers: {', '.join(PROVIDERS)}."
        )
    return provider


def takes_seed(config: TeacherModelConfig) -> bool:
    """Tell whether each request can carry a seed."""
    provider = provider_of(config)
    return provider == SCRIPTED or (config.send_seed and provider in _OPENAI)


def has_hooks(config: TeacherModelConfig) -> bool:
    """Tell whether the throttle sees the client's own retries; otherwise it admits each call as a whole."""
    return provider_of(config) in _OPENAI


def build_chat_model(
    config: TeacherModelConfig, seed: int, throttle: Throttle, domain: str = "math"
) -> "BaseChatModel":
    """Build the chat model of `config`. Its connections belong to the event loop that first uses it.

    `domain`: whose curriculum the scripted model teaches.

    Raises:
        ConfigError, UnknownNameError: see `provider_of`.
        MissingDependencyError: the provider's package or key is absent; the text says what to add.
    """
    provider = provider_of(config)
    if provider == SCRIPTED:
        from dataenvgym.agents.scripted.chat_model import ScriptedChatModel

        return ScriptedChatModel(seed=seed, domain=domain, **config.scripted.model_dump())

    name = config.model.partition(":")[2]
    settings: dict[str, Any] = {
        "timeout": config.timeout,
        "max_retries": config.transport_retries,
        "max_tokens": config.max_tokens,
        # LangChain repairs the JSON of a streamed reply and completes a cut record, so streaming is off, also
        # where a graph's stream mode asks for it. LangChain's global cache would store faulty replies.
        "disable_streaming": True,
        "cache": False,
        **_key(config, provider),
    }
    if config.temperature is not None:
        settings["temperature"] = config.temperature
    if config.base_url is not None:
        settings["azure_endpoint" if provider == "azure_openai" else "base_url"] = config.base_url
    if provider == "azure_openai":
        settings["azure_deployment"] = name
    if takes_seed(config):
        settings["seed"] = seed
    from langchain.chat_models import init_chat_model

    try:
        if provider in _OPENAI:
            from openai import DefaultAsyncHttpxClient

            # LangChain shares one pool over all event loops, which breaks on the second asyncio.run.
            settings["http_async_client"] = DefaultAsyncHttpxClient(
                timeout=config.timeout, event_hooks=throttle.hooks()
            )
        model: BaseChatModel = init_chat_model(name, model_provider=provider, **settings)
        return model
    except ImportError as error:
        package = PROVIDERS[provider].package
        raise MissingDependencyError(f"model {config.model!r} needs: pip install {package}") from error
    except ValueError as error:  # pydantic's text may hold the values given, keys among them
        problem = f"{type(error).__name__}: {redact(str(error))}"
        raise ConfigError(f"model {config.model!r} cannot be set up: {problem}") from None


def _key(config: TeacherModelConfig, provider: str) -> dict[str, str]:
    """Check the environment and return settings to add: a dummy key for a local server that needs none."""
    needs = PROVIDERS[provider]
    for variable in needs.settings:
        if not os.environ.get(variable):
            raise MissingDependencyError(f"model {config.model!r} needs the environment variable {variable}.")
    if provider == "azure_openai" and not (config.base_url or os.environ.get("AZURE_OPENAI_ENDPOINT")):
        raise MissingDependencyError(
            f"model {config.model!r} needs `base_url` or the environment variable AZURE_OPENAI_ENDPOINT."
        )
    if any(os.environ.get(variable) for variable in needs.keys):
        return {}
    if config.base_url is None:
        raise MissingDependencyError(
            f"model {config.model!r} needs a key: set the environment variable {' or '.join(needs.keys)}, "
            f"or `base_url` for a local server without keys, or model 'scripted', which needs no key."
        )
    return {"api_key": "not-needed"}


def is_provider_error(error: Exception) -> bool:
    """Tell whether the error is about the transport or a status, not about the content of a reply."""
    import openai

    return isinstance(error, openai.OpenAIError | TimeoutError | OSError) or hasattr(error, "status_code")


def explain(error: Exception, config: TeacherModelConfig) -> str:
    """Describe what went wrong and how to fix it, without any key."""
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    where = f"model {config.model!r} at {config.base_url or 'the default address of its provider'}"
    tries = f"after {config.transport_retries + 1} requests"
    if status in (401, 403):
        # The server's own words may repeat the key, so they are left out.
        keys = " or ".join(PROVIDERS[provider_of(config)].keys)
        return f"{where} refused the key (status {status}). Check {keys} and that the key may use this model."
    detail = redact(str(getattr(error, "message", None) or error))[:300]
    if status == 404:
        return f"{where} was not found (status 404). Check the model's name and `base_url`. Server: {detail}"
    if status == 429:
        return (
            f"{where} still refused for rate or quota {tries} (status 429). Set `requests_per_minute` or "
            f"`tokens_per_minute`, raise `transport_retries` or check the account. Server: {detail}"
        )
    if status is not None and 400 <= status < 500:
        return (
            f"{where} refused the request (status {status}). Check `temperature`, `max_tokens`, `send_seed` "
            f"and that the model can call tools. Server: {detail}"
        )
    if status is not None:
        return f"{where} failed {tries} (status {status}). Try again later. Server: {detail}"
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return f"{where} gave no answer within {config.timeout:g} s, {tries}. Raise `timeout` or ask for less."
    if "Connection" in kind or isinstance(error, OSError):
        return f"{where} cannot be reached, {tries}. Check `base_url` and that the server runs. {kind}: {detail}"
    return f"{where} failed: {kind}: {detail}"


def redact(text: str) -> str:
    """Remove from `text` the values of the known key variables and anything that looks like a key."""
    for provider in PROVIDERS.values():
        for variable in provider.keys:
            if value := os.environ.get(variable):
                text = text.replace(value, "[key]")
    return re.sub(r"\b(sk|gsk|AIza)[-_A-Za-z0-9*]{8,}", "[key]", text)
