"""From a model's name to its port, and the errors on the way."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, cast

import pytest

from answerable.errors import ConfigError
from answerable.models.catalog import PROVIDERS, resolve_model
from answerable.models.providers import PydanticAiModel

if TYPE_CHECKING:
    from answerable.models.port import ModelPort


def refused(name: str, **rest: ModelPort) -> ConfigError:
    """The error of resolving `name`, beside scripted models."""
    with pytest.raises(ConfigError) as caught:
        resolve_model(name, scripted={key.replace("_", ":"): port for key, port in rest.items()})
    return caught.value


def python(program: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_scripted_model_goes_by_its_whole_name() -> None:
    """`scripted:desk` is the port that the project gave under that name."""
    port = cast("ModelPort", object())
    assert resolve_model("scripted:desk", scripted={"scripted:desk": port}) is port


def test_an_unknown_scripted_model_names_its_neighbours() -> None:
    """A slip in a scripted name says which ones there are."""
    assert "`scripted:desk`" in refused("scripted:deks", scripted_desk=cast("ModelPort", object())).hint


@pytest.mark.parametrize(
    ("name", "meant"),
    [("opnai:gpt-4o", "openai:NAME"), ("OpenAI:x", "openai:NAME"), ("antropic:x", "anthropic:NAME")],
)
def test_a_misspelt_provider_is_guessed(name: str, meant: str) -> None:
    """An unknown provider is an error that offers what was probably meant."""
    error = refused(name)
    assert "unknown provider" in str(error)
    assert meant in error.hint


def test_a_wholly_unknown_provider_lists_them_all() -> None:
    """Where nothing is near, every provider is named."""
    assert all(provider in refused("qqqq:x").hint for provider in PROVIDERS)


@pytest.mark.parametrize("name", ["", "gpt-4o", "openai:", ":gpt-4o", "openai: ", " openai:x", "openai:x "])
def test_half_a_name_is_no_model(name: str) -> None:
    """A model is a provider and a name, without spaces around."""
    assert "does not name a model" in str(refused(name))


@pytest.mark.parametrize(
    "name", ["test", "test:x", "function:x", "gateway/test:x", "sentence-transformers:x"]
)
def test_stand_ins_and_other_kinds_of_model_are_not_offered(name: str) -> None:
    """What would answer without a model being asked, or cannot chat, is not a model here."""
    refused(name)


def test_the_list_of_providers_is_the_installed_one() -> None:
    """Every provider listed is known to pydantic-ai, and every chat provider it names is listed."""
    models = pytest.importorskip("pydantic_ai.models")
    from pydantic_ai.providers import infer_provider_class

    for provider in PROVIDERS:
        try:
            infer_provider_class(provider)
        except ImportError:
            continue  # its SDK is not installed; an unknown provider is a ValueError
    named = {name.partition(":")[0].removeprefix("gateway/") for name in models.known_model_names()}
    assert named - set(PROVIDERS) == {"test", "openai-decisions", "google-decisions", "typesafe"}
    assert list(PROVIDERS) == sorted(PROVIDERS)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    """Importing the model layer costs no provider, no SDK and no price table."""
    program = (
        "import sys, answerable.models.catalog, answerable.models.providers, answerable.models.prices\n"
        "heavy = ('pydantic_ai', 'openai', 'anthropic', 'genai_prices', 'httpx2')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert python(program) == "[]"


def test_without_the_extra_the_hint_says_what_to_install() -> None:
    """A core install knows the providers and says how to get them."""
    program = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from answerable.errors import ConfigError\n"
        "from answerable.models.catalog import resolve_model\n"
        "try: resolve_model('openai:gpt-4o')\n"
        "except ConfigError as error: print(error)"
    )
    assert 'pip install "answerable[models]"' in python(program)


def test_without_a_providers_package_the_hint_names_it() -> None:
    """A provider whose own package is missing says which."""
    pytest.importorskip("pydantic_ai")
    program = (
        "import sys; sys.modules['groq'] = None\n"
        "from answerable.errors import ConfigError\n"
        "from answerable.models.catalog import resolve_model\n"
        "try: resolve_model('groq:llama')\n"
        "except ConfigError as error: print(error)"
    )
    assert "pydantic-ai-slim[groq]" in python(program)


def test_resolving_prepares_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider's model comes back ready, under the name it was asked for."""
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    port = resolve_model("openai:gpt-4o-mini")
    assert isinstance(port, PydanticAiModel)
    assert port.name == "openai:gpt-4o-mini"
