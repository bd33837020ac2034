"""Build the chat model that a config names, and explain how to fix it when it cannot be reached."""

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from dataenvgym.agents.config import TeacherModelConfig
from dataenvgym.envs.errors import ConfigError, MissingDependencyError, UnknownNameError
from dataenvgym.envs.text import clean

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
ANSWER_TOKENS, THINKING_TOKENS = 4096, 32768
_THINKS = re.compile(
    r"[:/-](o[1-9]|gpt-5|gpt-oss|deepseek-r|r1|qwq|qwen3|magistral|kimi-k2|glm-[45])|reason|think", re.IGNORECASE
)
"""Families that think before they answer, by their names."""


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


def speaks_openai(config: TeacherModelConfig) -> bool:
    """Tell whether requests go through OpenAI's client, whose bodies and parameters are known."""
    return provider_of(config) in _OPENAI


def longest_reply(config: TeacherModelConfig) -> int:
    """The most tokens of a reply: as configured, else with room for the thinking of models that do."""
    if config.max_tokens is not None:
        return config.max_tokens
    return THINKING_TOKENS if _THINKS.search(config.model) else ANSWER_TOKENS


def build_chat_model(
    config: TeacherModelConfig, seed: int, domain: str = "math", left_out: Collection[str] = ()
) -> "BaseChatModel":
    """Build the chat model of `config`. Its connections belong to the event loop that first uses it.

    It never sends a request again: our client does, which counts each. `domain`: whose curriculum the scripted
    model teaches. `left_out`: parameters that the model refuses.

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
        "max_retries": 0,
        # LangChain repairs the JSON of a streamed reply and completes a cut record, so streaming is off, also
        # where a graph's stream mode asks for it. LangChain's global cache would store faulty replies.
        "disable_streaming": True,
        "cache": False,
        **_key(config, provider),
        **_options(config, left_out),
    }
    if "max_completion_tokens" not in left_out:
        settings["max_tokens"] = longest_reply(config)
    elif "max_tokens" not in left_out:  # older servers know it by this name alone
        settings["extra_body"] = {**settings.get("extra_body", {}), "max_tokens": longest_reply(config)}
    if config.temperature is not None and "temperature" not in left_out:
        settings["temperature"] = config.temperature
    if config.base_url is not None:
        settings["azure_endpoint" if provider == "azure_openai" else "base_url"] = config.base_url
    if provider == "azure_openai":
        settings["azure_deployment"] = name
    from langchain.chat_models import init_chat_model

    try:
        if provider in _OPENAI:
            from dataenvgym.agents.llm.http import TidyClient

            # LangChain shares one pool over all event loops, which breaks on the second asyncio.run.
            settings["http_async_client"] = TidyClient(timeout=config.timeout)
        model: BaseChatModel = init_chat_model(name, model_provider=provider, **settings)
        return model
    except ImportError as error:
        package = PROVIDERS[provider].package
        raise MissingDependencyError(f"model {config.model!r} needs: pip install {package}") from error
    except ValueError as error:  # pydantic's text may hold the values given, keys among them
        problem = f"{type(error).__name__}: {redact(str(error))}"
        raise ConfigError(f"model {config.model!r} cannot be set up: {problem}") from None


def _options(config: TeacherModelConfig, left_out: Collection[str]) -> dict[str, Any]:
    """The config's further parameters. Values of headers that begin with `$` are taken from the environment.

    Raises:
        MissingDependencyError: the environment has no such variable.
    """
    options = {key: value for key, value in config.options.items() if key not in left_out}
    headers = options.pop("headers", None)
    if headers is None:
        return options
    found = {}
    for name, value in dict(headers).items():
        text = str(value)
        if text.startswith("$"):
            variable = text[1:].strip("{}")
            if variable not in os.environ:
                raise MissingDependencyError(
                    f"teacher.llm.options.headers.{name} needs the environment variable {variable}."
                )
            text = os.environ[variable]
        found[name] = text
    return {**options, "default_headers": found}


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


def explain(error: Exception, config: TeacherModelConfig, requests: int) -> str:
    """Describe what went wrong and how to fix it, without any key. `requests`: how many were sent."""
    status = getattr(error, "status_code", None)
    kind = type(error).__name__
    where = f"model {config.model!r} at {config.base_url or 'the default address of its provider'}"
    tries = f"after {requests} request{'s' * (requests != 1)}"
    if status in (401, 403):
        # The server's own words may repeat the key, so they are left out.
        keys = " or ".join(PROVIDERS[provider_of(config)].keys)
        return f"{where} refused the key (status {status}). Check {keys} and that the key may use this model."
    detail = redact(clean(str(getattr(error, "message", None) or error)))[:300]
    if status is not None and 300 <= status < 400:
        to = getattr(getattr(error, "response", None), "headers", {}).get("location", "another address")
        return f"{where} sends requests on to {clean(to)} (status {status}). Set `base_url` to the right address."
    if status == 404:
        return f"{where} was not found (status 404). Check the model's name and `base_url`. Server: {detail}"
    if status == 429:
        return (
            f"{where} still refused for rate or quota {tries} (status 429). Set `requests_per_minute` or "
            f"`tokens_per_minute`, raise `transport_retries` or check the account. Server: {detail}"
        )
    if status is not None and 400 <= status < 500:
        return (
            f"{where} refused the request (status {status}). Check `temperature`, `max_tokens`, `send_seed`, "
            f"`structured` and `options`. Server: {detail}"
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
