"""What an attempt cost, and what it may cost at most. Offline: the table ships with genai-prices.

An unknown price is `None`, never zero: under a money cap the engine denies what it cannot price. A table of
the project's own goes first, since contracts and self-hosted models have prices that no public table knows:

    [prices."openai:house-model"]
    input_per_mtok = "0.15"
    output_per_mtok = "0.60"
    cache_read_per_mtok = "0.075"     # without it, cached tokens cost what input costs
    cache_write_per_mtok = "0.15"     # likewise

Every `Cost` names the table it came from, so that a figure can be traced after the table has changed.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, cast

from answerable.errors import ConfigError
from answerable.models.port import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

TOKENS_PER_UNIT = 1_000_000
RATE_MAX = Decimal(1_000_000)
"""A price per million tokens above this is a slip of the pen."""

_ALIASES = {"azure-responses": "azure"}
"""Our provider names that genai-prices does not recognise by itself."""
_MODEL_NAME = re.compile(r"[^\s:]+:\S+")
_FIELDS = {"input_per_mtok", "output_per_mtok", "cache_read_per_mtok", "cache_write_per_mtok"}
_REQUIRED = ("input_per_mtok", "output_per_mtok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal

    def cost(self, usage: Usage) -> Decimal:
        """The price of `usage`; cached tokens are part of its input and are counted once."""
        fresh = usage.input - usage.cache_read - usage.cache_write
        per_unit = (
            fresh * self.input
            + usage.cache_read * self.cache_read
            + usage.cache_write * self.cache_write
            + usage.output * self.output
        )
        return per_unit / TOKENS_PER_UNIT

    def bound(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The most that so many tokens can cost, however much of the input was cached."""
        dearest = max(self.input, self.cache_read, self.cache_write)
        return (input_tokens * dearest + output_tokens * self.output) / TOKENS_PER_UNIT


class Prices:
    """The price of models, by `PROVIDER:NAME`."""

    def __init__(self, overrides: Mapping[str, Rate] | None = None, *, digest: str = "") -> None:
        self._overrides = dict(overrides or {})
        self._override_table = f"prices file sha256:{digest[:16]}" if digest else "prices given in code"

    def cost(self, model: str, usage: Usage, *, at: datetime | None = None) -> Cost:
        """What `usage` cost on `model` (at the time `at`, now if not said: some prices depend on it)."""
        counted = _consistent(usage)
        rate = self._overrides.get(model)
        if rate is not None:
            return Cost(usd=rate.cost(counted), table=self._override_table)
        return _table_cost(model, counted, at)

    def cost_bound(self, model: str, *, input_tokens: int, output_tokens: int) -> Cost:
        """What a request of at most so many tokens can cost at most, for a reservation.

        At least `cost` of any usage within those tokens: every input token is priced as the dearest of plain,
        cache read and cache write, in the dearest tier and at the dearest time of day.
        """
        rate = self._overrides.get(model)
        if rate is not None:
            return Cost(usd=rate.bound(input_tokens, output_tokens), table=self._override_table)
        return _table_bound(model, input_tokens, output_tokens)


def load_prices(path: Path | None) -> Prices:
    """The prices with the override file at `path`. Raises `ConfigError` for whatever is not a clear price."""
    if path is None:
        return Prices()
    try:
        content = path.read_bytes()
        parsed = tomllib.loads(content.decode(), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"the price file `{path}` cannot be read: {error}"
        raise ConfigError(message) from None
    unknown = sorted(parsed.keys() - {"prices"})
    if unknown:
        message = f"the price file `{path}` has an unknown section `{unknown[0]}`"
        raise ConfigError(message, hint='sections look like [prices."openai:house-model"]')
    section: object = parsed.get("prices", {})
    if not isinstance(section, dict):
        message = f"`prices` in `{path}` is not a table"
        raise ConfigError(message, hint='sections look like [prices."openai:house-model"]')
    entries = cast("dict[str, object]", section)
    rates = {model: _rate(model, fields) for model, fields in entries.items()}
    return Prices(rates, digest=hashlib.sha256(content).hexdigest())


def _rate(model: str, fields: object) -> Rate:
    if not _MODEL_NAME.fullmatch(model):
        message = f"`{model}` in the price file is not PROVIDER:NAME"
        raise ConfigError(message, hint='quote the whole name: [prices."openai:house-model"]')
    if not isinstance(fields, dict):
        message = f"the price of `{model}` is not a table"
        raise ConfigError(message, hint='sections look like [prices."openai:house-model"]')
    given = cast("dict[str, object]", fields)
    unknown = sorted(given.keys() - _FIELDS)
    missing = [name for name in _REQUIRED if name not in given]
    if unknown or missing:
        wrong = f"has an unknown field `{unknown[0]}`" if unknown else f"lacks `{missing[0]}`"
        message = f"the price of `{model}` {wrong}"
        raise ConfigError(message, hint=f"fields: {', '.join(sorted(_FIELDS))}")
    amounts = {name: _amount(model, name, value) for name, value in given.items()}
    plain = amounts["input_per_mtok"]
    return Rate(
        input=plain,
        output=amounts["output_per_mtok"],
        cache_read=amounts.get("cache_read_per_mtok", plain),
        cache_write=amounts.get("cache_write_per_mtok", plain),
    )


def _amount(model: str, name: str, value: object) -> Decimal:
    try:
        amount = (
            Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        )
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount <= RATE_MAX:
        message = f"`{name}` of `{model}` is not a price"
        raise ConfigError(message, hint='a price is US dollars per million tokens as text, as in "0.15"')
    return amount


def _consistent(usage: Usage) -> Usage:
    """`usage` with its parts inside its whole, so that a provider's slip never makes a price negative."""
    read, write = max(usage.cache_read, 0), max(usage.cache_write, 0)
    return Usage(
        input=max(usage.input, read + write), output=max(usage.output, 0), cache_read=read, cache_write=write
    )


def _table_cost(model: str, usage: Usage, at: datetime | None) -> Cost:
    try:
        import genai_prices
    except ImportError:
        return Cost(usd=None, table="no price table installed")
    table = f"genai-prices {genai_prices.__version__}"
    provider, _, name = model.partition(":")
    counts = genai_prices.Usage(
        input_tokens=usage.input,
        output_tokens=usage.output,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
    )
    try:
        price = genai_prices.calc_price(
            counts, name, provider_id=_ALIASES.get(provider, provider), genai_request_timestamp=at
        )
    except (LookupError, ValueError):
        return Cost(usd=None, table=table)
    if price.auto_update_timestamp is not None:
        table = f"{table} updated {price.auto_update_timestamp.isoformat()}"
    if not _is_priced_by_token(price.model_price):
        return Cost(usd=None, table=table)
    return Cost(usd=price.total_price, table=table)


def _table_bound(model: str, input_tokens: int, output_tokens: int) -> Cost:
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return Cost(usd=None, table="no price table installed")
    table = f"genai-prices {genai_prices.__version__}"
    provider, _, name = model.partition(":")
    snapshot = get_snapshot()
    if snapshot.from_auto_update:
        table = f"{table} updated {snapshot.timestamp.isoformat()}"
    try:
        _, found = snapshot.find_provider_model(name, None, _ALIASES.get(provider, provider), None)
    except LookupError:
        return Cost(usd=None, table=table)
    lists = _price_lists(found)
    if not lists or not all(map(_is_priced_by_token, lists)):
        return Cost(usd=None, table=table)
    dearest = {"input": Decimal(0), "output": Decimal(0), "request": Decimal(0)}
    for prices in lists:
        for kind, amount in _amounts(prices):
            dearest[kind] = max(dearest[kind], amount)
    usd = input_tokens * dearest["input"] + output_tokens * dearest["output"] + dearest["request"]
    return Cost(usd=usd, table=table)


def _price_lists(model: ModelInfo) -> list[ModelPrice]:
    """Every price list that can apply to `model`, whatever the date and the time of day."""
    if isinstance(model.prices, list):
        return [conditional.prices for conditional in model.prices]
    return [model.prices]


def _is_priced_by_token(prices: ModelPrice) -> bool:
    """Whether text in and text out have a price; a model priced by the hour or the page has none here."""
    return prices.input_mtok is not None and prices.output_mtok is not None


def _amounts(prices: ModelPrice) -> Iterator[tuple[str, Decimal]]:
    """Each price of text in the list, per single token or request, under what it is a price of.

    Audio, pictures and video are left out: a request here never carries them.
    """
    for key, price in vars(prices).items():
        kind = _kind(key)
        if price is None or kind is None:
            continue
        per = 1000 if kind == "request" else TOKENS_PER_UNIT
        for amount in _tiers(price):
            yield kind, amount / per


def _kind(key: str) -> str | None:
    if key == "requests_kcount":
        return "request"
    if not key.endswith("_mtok") or any(medium in key for medium in ("audio", "image", "video")):
        return None
    return "output" if key.startswith("output") else "input"


def _tiers(price: Decimal | TieredPrices) -> Iterable[Decimal]:
    if isinstance(price, Decimal):
        return (price,)
    return (price.base, *(tier.price for tier in price.tiers))
