"""From `PROVIDER:NAME` to the model port behind it."""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

from answerable.errors import ConfigError
from answerable.models.providers import PydanticAiModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import NoReturn

    from answerable.models.port import ModelPort
    from answerable.models.prices import Prices

PROVIDERS = (
    "alibaba",
    "anthropic",
    "azure",
    "azure-responses",
    "bedrock",
    "bedrock-mantle",
    "cerebras",
    "cohere",
    "crusoe",
    "deepseek",
    "fireworks",
    "github",
    "github-copilot",
    "google",
    "google-cloud",
    "groq",
    "heroku",
    "huggingface",
    "litellm",
    "meta",
    "mistral",
    "moonshotai",
    "nebius",
    "ollama",
    "openai",
    "openai-chat",
    "openai-chatgpt",
    "openai-codex",
    "openai-responses",
    "openrouter",
    "ovhcloud",
    "sambanova",
    "snowflake",
    "together",
    "vercel",
    "vllm",
    "xai",
    "zai",
)
"""The chat models of pydantic-ai, listed here so that a slip in a name is found without importing anything.

Left out on purpose: its `test` and `function` models, which would answer without saying that no model was
asked, and models that only decide, embed or speak. A test compares the list with the installed pydantic-ai.
"""

GATEWAY = "gateway/"
"""Prefix of a provider that is reached through Pydantic's gateway, as in `gateway/openai:NAME`."""

_NO_MODELS: Mapping[str, ModelPort] = MappingProxyType({})


def resolve_model(
    name: str, *, scripted: Mapping[str, ModelPort] = _NO_MODELS, prices: Prices | None = None
) -> ModelPort:
    """The port of the model `name`: one of `scripted` (by its whole name, `scripted:desk`), or a provider's.

    A provider's model is prepared at once, so a missing package or key is found before a run starts.
    Raises `ConfigError`.
    """
    port = scripted.get(name)
    if port is not None:
        return port
    provider, separator, model = name.partition(":")
    if not separator or not provider or not model.strip() or name != name.strip():
        _refuse(f"`{name}` does not name a model", provider, scripted, name)
    if provider == "scripted":
        _refuse(f"there is no scripted model `{name}`", provider, scripted, name)
    if provider.removeprefix(GATEWAY) not in PROVIDERS:
        _refuse(f"unknown provider `{provider}`", provider, scripted, name)
    resolved = PydanticAiModel(name, prices=prices)
    resolved.prepare()
    return resolved


def _refuse(message: str, provider: str, scripted: Iterable[str], name: str) -> NoReturn:
    providers = get_close_matches(provider.lower(), PROVIDERS, n=3, cutoff=0.6)
    likely = [
        *get_close_matches(name, list(scripted), n=3, cutoff=0.6),
        *(f"{found}:NAME" for found in providers),
    ]
    if likely:
        hint = "did you mean " + " or ".join(f"`{found}`" for found in likely) + "?"
    else:
        hint = "a model is PROVIDER:NAME, as in `openai:gpt-4o-mini`; providers: " + ", ".join(PROVIDERS)
    raise ConfigError(message, hint=hint)
