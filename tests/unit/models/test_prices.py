"""What an attempt cost, and that a reservation covers it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from answerable.errors import ConfigError
from answerable.models.port import Usage
from answerable.models.prices import Prices, Rate, load_prices

if TYPE_CHECKING:
    from pathlib import Path

OVERRIDE = """
[prices."openai:house-model"]
input_per_mtok = "0.15"
output_per_mtok = "0.60"
cache_read_per_mtok = 0.075

[prices."ollama:small"]
input_per_mtok = 0
output_per_mtok = 0
"""
SONNET = "anthropic:claude-sonnet-4-5"


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage whose cached parts lie inside its input, up to sizes where tiered prices step up."""
    total = draw(st.integers(0, 1_500_000))
    read = draw(st.integers(0, total))
    write = draw(st.integers(0, total - read))
    return Usage(input=total, output=draw(st.integers(0, 200_000)), cache_read=read, cache_write=write)


def written(path: Path, text: str) -> Path:
    """A price file."""
    file = path / "prices.toml"
    file.write_text(text)
    return file


def test_known_models_cost_what_the_table_says() -> None:
    """Two figures that two independent tables agree on; cached tokens are counted once."""
    pytest.importorskip("genai_prices")
    mini = Prices().cost("openai:gpt-4o-mini", Usage(input=320, output=40, cache_read=128))
    sonnet = Prices().cost(SONNET, Usage(input=1000, output=40, cache_read=500, cache_write=200))
    assert mini.usd == Decimal("0.0000624")
    assert sonnet.usd == Decimal("0.0024")
    assert mini.table.startswith("genai-prices ")


@pytest.mark.parametrize(
    "provider", ["openai", "openai-chat", "openai-responses", "azure", "azure-responses"]
)
def test_every_way_to_a_model_has_its_price(provider: str) -> None:
    """The provider's name as we write it is understood by the table."""
    pytest.importorskip("genai_prices")
    assert Prices().cost(f"{provider}:gpt-4o-mini", Usage(input=1000, output=1)).usd


@pytest.mark.parametrize(
    "model", ["openai:no-such-model", "ollama:small", "nobody:nothing", "scripted:desk", "odd", ""]
)
def test_an_unknown_model_has_an_unknown_cost(model: str) -> None:
    """Unknown is None, never zero."""
    assert Prices().cost(model, Usage(input=10, output=10)).usd is None
    assert Prices().cost_bound(model, input_tokens=10, output_tokens=10).usd is None


def test_a_model_without_a_price_per_token_is_unknown() -> None:
    """A model priced by the hour, page or search is not free just because it has no token price."""
    data = pytest.importorskip("genai_prices.data_snapshot")
    snapshot = data.get_snapshot()
    provider, model = next(
        (provider.id, model.id)
        for provider in snapshot.providers
        for model in provider.models
        if not isinstance(model.prices, list) and model.prices.output_mtok is None
    )
    assert Prices().cost(f"{provider}:{model}", Usage(input=10, output=10)).usd is None
    assert Prices().cost_bound(f"{provider}:{model}", input_tokens=10, output_tokens=10).usd is None


@pytest.mark.parametrize(
    "usage", [Usage(input=5, cache_read=10), Usage(input=-5, output=-5), Usage(cache_write=3)]
)
def test_a_provider_slip_in_usage_never_makes_a_negative_cost(usage: Usage) -> None:
    """Cached tokens beyond the input count as input; nothing is subtracted below zero."""
    pytest.importorskip("genai_prices")
    for prices in (Prices(), Prices({SONNET: _rate("1", "2", "3", "4")})):
        usd = prices.cost(SONNET, usage).usd
        assert usd is not None
        assert usd >= 0


def _rate(plain: str, output: str, read: str, write: str) -> Rate:
    return Rate(
        input=Decimal(plain), output=Decimal(output), cache_read=Decimal(read), cache_write=Decimal(write)
    )


@settings(deadline=None)  # a loaded machine is slow now and then; that is no finding
@given(usages(), st.lists(st.decimals(0, 100, places=4), min_size=4, max_size=4))
def test_a_bound_covers_any_split_of_an_own_price(usage: Usage, rates: list[Decimal]) -> None:
    """Whatever is dearest, plain, read or written, the reservation was made for it."""
    prices = Prices({"a:b": Rate(input=rates[0], output=rates[1], cache_read=rates[2], cache_write=rates[3])})
    bound = prices.cost_bound("a:b", input_tokens=usage.input, output_tokens=usage.output).usd
    cost = prices.cost("a:b", usage).usd
    assert bound is not None
    assert cost is not None
    assert bound >= cost


@settings(deadline=None)  # a loaded machine is slow now and then; that is no finding
@given(usages())
def test_a_cache_write_dearer_than_input_is_covered(usage: Usage) -> None:
    """Anthropic's cache writes cost more than plain input, and its long prompts more than short ones."""
    pytest.importorskip("genai_prices")
    bound = Prices().cost_bound(SONNET, input_tokens=usage.input, output_tokens=usage.output).usd
    cost = Prices().cost(SONNET, usage).usd
    assert bound is not None
    assert cost is not None
    assert bound >= cost


def test_the_bound_covers_every_model_of_the_table() -> None:
    """All models, each as all plain, all read, all written and mixed, short and long, by day and by night."""
    data = pytest.importorskip("genai_prices.data_snapshot")
    prices = Prices()
    times = [datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in (3, 17)]
    priced = 0
    for provider in data.get_snapshot().providers:
        for model in provider.models:
            name = f"{provider.id}:{model.id}"
            for size in (1_000, 1_200_000):
                bound = prices.cost_bound(name, input_tokens=size, output_tokens=size).usd
                splits = [(0, 0), (size, 0), (0, size), (size // 3, size // 3)]
                for at, (read, write) in zip(times * 2, splits, strict=True):
                    usage = Usage(input=size, output=size, cache_read=read, cache_write=write)
                    cost = prices.cost(name, usage, at=at).usd
                    assert (bound is None) or (cost is not None and cost <= bound), name
                    priced += bound is not None
    assert priced > 10_000


def test_an_override_goes_first_and_says_so(tmp_path: Path) -> None:
    """A price of the project's own is exact, and the figure names the file's digest."""
    file = written(tmp_path, OVERRIDE)
    prices = load_prices(file)
    cost = prices.cost("openai:house-model", Usage(input=1_000_000, output=1_000_000, cache_read=400_000))
    assert cost.usd == Decimal("0.09") + Decimal("0.03") + Decimal("0.60")
    assert cost.table == f"prices file sha256:{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    assert prices.cost_bound("openai:house-model", input_tokens=10**6, output_tokens=0).usd == Decimal("0.15")


def test_a_price_of_zero_is_known(tmp_path: Path) -> None:
    """A self-hosted model may be declared free; that is not the same as unknown."""
    assert load_prices(written(tmp_path, OVERRIDE)).cost("ollama:small", Usage(input=9, output=9)).usd == 0


def test_no_file_is_the_public_table() -> None:
    """Without a file of one's own, only the shipped table speaks."""
    assert load_prices(None).cost("openai:house-model", Usage(input=1)).usd is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prices = 5", "not a table"),
        ("[price]\n", "unknown section `price`"),
        ('[prices]\n"openai:a" = 5', "not a table"),
        ('[prices."a"]\ninput_per_mtok = 1\noutput_per_mtok = 1', "PROVIDER:NAME"),
        ("[prices.openai]\ninput_per_mtok = 1\noutput_per_mtok = 1", "PROVIDER:NAME"),
        ('[prices."openai:a"]\ninput_per_mtok = 1', "lacks `output_per_mtok`"),
        ('[prices."openai:a"]\ninput_per_mtok = 1\noutput_per_mtok = 1\ninput = 1', "unknown field `input`"),
        ('[prices."openai:a"]\ninput_per_mtok = "1,5"\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = "-1"\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = nan\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = "sNaN"\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = inf\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = true\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = []\noutput_per_mtok = 1', "not a price"),
        ('[prices."openai:a"]\ninput_per_mtok = 15000000\noutput_per_mtok = 1', "not a price"),
        ("[prices", "cannot be read"),
    ],
)
def test_an_unclear_price_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A typo in a price is an error when it is read, not a wrong bill later."""
    with pytest.raises(ConfigError) as caught:
        load_prices(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_price_file_is_refused(tmp_path: Path) -> None:
    """A file that was named and is not there is not silently skipped."""
    with pytest.raises(ConfigError):
        load_prices(tmp_path / "nothing.toml")


def test_without_the_table_every_price_is_unknown() -> None:
    """Where genai-prices is not installed, cost is unknown and nothing breaks."""
    program = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from answerable.models.prices import Prices\n"
        "from answerable.models.port import Usage\n"
        "cost = Prices().cost('openai:gpt-4o-mini', Usage(input=1))\n"
        "bound = Prices().cost_bound('openai:gpt-4o-mini', input_tokens=1, output_tokens=1)\n"
        "print(cost.usd, bound.usd, cost.table)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None None no price table installed"
