"""A tool as a value: everything the gates and the journal need to know, and nothing that acts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, TypeAdapter

from answerable.kernel.encoding import encode_payload, sha256_hex
from answerable.kernel.marks import Marks
from answerable.kernel.money import plain
from answerable.kernel.throttle import Breaker, Rate

if TYPE_CHECKING:
    from collections.abc import Mapping


class EffectClass(StrEnum):
    """What a call of the tool can do outside."""

    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"


class WriteMode(StrEnum):
    """What makes it safe, or not, to send a write again (`spec/effects.md`)."""

    NATIVE_KEY = "native_key"
    """The vendor takes our key and does the work once."""
    UPSERT = "upsert"
    """Sending the same again leaves the same state."""
    CONDITIONAL = "conditional"
    """The vendor refuses the write if the record moved on."""
    PROBE_THEN_WRITE = "probe_then_write"
    """We can ask whether it happened."""
    DRAFT_THEN_COMMIT = "draft_then_commit"
    """A harmless draft first; the commit of that draft can be asked for."""
    AT_MOST_ONCE = "at_most_once"
    """It can neither be repeated nor asked for: after a lost reply a person must look."""


RESENDABLE = frozenset({WriteMode.NATIVE_KEY, WriteMode.UPSERT, WriteMode.CONDITIONAL})
"""Modes in which the same send may be repeated after a lost reply."""
PROBEABLE = frozenset({WriteMode.PROBE_THEN_WRITE, WriteMode.DRAFT_THEN_COMMIT})
"""Modes in which the system of record is asked after a lost reply."""


class FreeText:
    """Marks text that people read, in which joiners, direction marks and mixed scripts are allowed."""


Text = Annotated[str, FreeText()]
"""Text for people. In a plain `str` (an identifier, a value) invisible and mixed-script characters are refused,
and so is white space at either end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What one call can change at most: the argument that is money, how many records, who is told.

    `deletes` says how many of the records are gone afterwards.
    """

    money: str | None = None
    currency: str = "USD"
    records: int = 1
    recipients: str | None = None
    deletes: int = field(default=0, repr=False)  # journals name releases by a digest of the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class UpTo:
    """Several effects may share a business key while their amounts stay within a total.

    `amount` is an argument, `total` a dotted path into the facts (`"order.total_usd"`).
    """

    amount: str
    total: str


Cardinality = Literal["once", "until_compensated"] | UpTo


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A running total kept in the journal, so that splitting an amount gains nothing.

    `by` is a template over arguments and facts (`"{order_id}"`, `"{order.customer_id}"`; empty: one total
    for the agent). `per` is `ever` or `day` (UTC). Policies read `context.totals.NAME.amount` (with this
    call) and `.count` (calls before this one).
    """

    name: str
    of: str
    by: str = ""
    per: Literal["ever", "day"] = "ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSpec:
    """A read of current state that is needed to decide.

    `arguments` maps the read's parameters to templates over this tool's arguments. A fact cannot need
    facts. `max_age_s` bounds how old an answer may be; irreversible effects always read again.
    """

    name: str
    tool: str
    arguments: dict[str, str]
    max_age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSpec:
    """What a run establishes once, for all its later calls: by the first done call of one of the tools.

    `value` is a dotted path into the tool's result; empty for the whole of it.
    """

    name: str
    tools: tuple[str, ...]
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a call is tried in all, and the first pause in seconds (it doubles)."""

    attempts: int = 3
    backoff_s: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool. Built by `answerable.tool`, which refuses what cannot be used safely."""

    name: str
    description: str
    effect_class: EffectClass
    arguments: type[BaseModel]
    """Strict, closed, frozen: what validates is exactly what the function gets."""
    result: TypeAdapter[Any]
    result_annotation: Any = None
    mode: WriteMode | None = None
    """None for a read, and only for a read."""
    business_key: str | None = None
    cardinality: Cardinality = "once"
    undo: str | None = None
    impact: Impact | None = None
    totals: tuple[Total, ...] = ()
    facts: tuple[FactSpec, ...] = ()
    timeout_s: float = 30.0
    retry: Retry = field(default_factory=Retry)
    rate: Rate | None = None
    breaker: Breaker | None = None
    key_ttl_s: float | None = None
    """How long the vendor honours a key: past that a lost reply is probed or escalated."""
    probe_lag_s: float = 0.0
    """How long the vendor's own reads may lag behind its writes."""
    is_result_trusted: bool = False
    """Whether what comes back was written by the company itself, not by a customer or a web page."""
    data_class: str = "internal"
    price_usd: Decimal = Decimal(0)
    """What one performed call costs."""
    has_probe: bool = False
    plan_digest: str = ""
    """Digest of the plan function's source: a changed plan is another tool."""
    free_text: frozenset[str] = frozenset()
    """Dotted paths of the arguments marked as `Text`."""
    takes: Marks = field(default_factory=Marks, repr=False)
    """Which kinds of values its parameters take."""
    gives: Marks = field(default_factory=Marks, repr=False)
    """What is marked in its result."""

    @property
    def is_outward(self) -> bool:
        """Whether a call of it tells somebody outside something: it has recipients, or it follows an address."""
        has_recipients = self.impact is not None and self.impact.recipients is not None
        return has_recipients or "url" in self.takes.kinds()

    @property
    def is_write(self) -> bool:
        """Whether a call of it changes something outside."""
        return self.effect_class is not EffectClass.READ

    @property
    def is_limited(self) -> bool:
        """Whether a call of it takes a turn before it is sent."""
        return self.rate is not None or self.breaker is not None

    def parameters(self) -> dict[str, Any]:
        """JSON Schema of the arguments, as a model is shown it."""
        return self.arguments.model_json_schema()

    def marks(self) -> dict[str, Any] | None:
        """The marks on its parameters and its result, as JSON; None where there are none."""
        found = {"takes": self.takes.described(), "gives": self.gives.described()}
        return found if any(found.values()) else None

    def fingerprint(self) -> str:
        """Digest of everything that decides what the tool means: part of a release.

        How often it is tried and sent is no part of it: limits are always the current ones, and one that is changed
        in an incident must not leave open runs waiting for the release that they began with.
        """
        described: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "class": self.effect_class,
            "mode": self.mode,
            "parameters": self.parameters(),
            "result": self.result.json_schema(mode="serialization"),
            "business_key": self.business_key,
            "cardinality": repr(self.cardinality),
            "impact": repr(self.impact),
            "totals": repr(self.totals),
            "facts": repr(self.facts),
            "timeout_s": self.timeout_s,
            "plan": self.plan_digest,
            "undo": self.undo,
        }
        if (marks := self.marks()) is not None:
            described["marks"] = marks
        if self.impact is not None and self.impact.deletes:
            described["deletes"] = self.impact.deletes
        return sha256_hex(encode_payload(described))


_HOLE = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_.]*)\}")


class TemplateError(ValueError):
    """A template names something that is not there."""


def holes(template: str) -> tuple[str, ...]:
    """The dotted names that a template asks for, in order."""
    return tuple(_HOLE.findall(template))


def render(template: str, values: Mapping[str, object]) -> str:
    """`template` with each `{dotted.name}` replaced from `values` (mappings or objects).

    Raises `TemplateError` where a name is missing or has no single plain value.
    """
    return _HOLE.sub(lambda hole: _plain(look_up(hole.group(1), values), hole.group(1)), template)


def fields_of(model: BaseModel) -> dict[str, Any]:
    """A model's values by name, as they are: what templates look into and functions are called with."""
    return {name: getattr(model, name) for name in type(model).model_fields}


def look_up(path: str, values: Mapping[str, object]) -> object:
    """The value at a dotted path. Raises `TemplateError` where there is none."""
    found: Any = values
    for name in path.split("."):
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get(name, _ABSENT)
        else:
            found = getattr(found, name, _ABSENT)
        if found is _ABSENT:
            message = f"`{path}` is not among the arguments and facts"
            raise TemplateError(message)
    return found


_ABSENT = object()


def _plain(value: object, name: str) -> str:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        message = f"`{name}` is a {type(value).__name__}; only text, integers and decimals can name a target"
        raise TemplateError(message)
    return plain(value) if isinstance(value, Decimal) else str(value)
