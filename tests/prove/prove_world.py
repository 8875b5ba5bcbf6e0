"""Tools with an argument of every type that rules can read, bundles that no check has looked at, and random rules."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from answerable.gates.policy import Bundle
from answerable.gates.policy.places import Places
from answerable.gates.policy.rules import read_rules
from answerable.gates.policy.schema import full_schema, tool_shapes
from answerable.kernel.tool import EffectClass, FactSpec, Impact, SessionSpec, ToolSpec, Total
from answerable.prove.place import place_at
from answerable.prove.symbolic import symbolize
from answerable.prove.vocabulary import vocabulary_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from answerable.prove.place import Place
    from answerable.prove.symbolic import Symbolic


class Model(BaseModel):
    """As registration makes them: strict, closed, frozen."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Line(Model):
    sku: str
    price: Decimal


class Order(Model):
    id: str
    total: Annotated[Decimal, Field(ge=0)]
    status: Literal["open", "paid"]
    is_paid: bool
    lines: list[Line]


class Address(Model):
    city: str
    zip: str | None = None


class Look(Model):
    order_id: str


class Pay(Model):
    order_id: str
    amount: Annotated[Decimal, Field(gt=0, le=20_000, decimal_places=2)]
    n: int
    m: Annotated[int, Field(ge=1, le=100)] | None = None
    note: str | None = None
    currency: Literal["USD", "EUR"]
    urgent: bool
    since: datetime
    due: datetime | None = None
    tags: list[str]
    more: list[str] | None = None
    codes: list[int]
    prices: list[Decimal]
    kinds: list[Literal["k1", "k2"]]
    flags: list[bool]
    lines: list[Line]
    to: Address
    bill: Address | None = None


def make_tool(name: str, arguments: type[BaseModel], effect_class: EffectClass, **more: Any) -> ToolSpec:
    """A tool value with as little said as possible."""
    return ToolSpec(
        name=name,
        description=name,
        effect_class=effect_class,
        arguments=arguments,
        result=TypeAdapter[Any](Order),
        result_annotation=Order,
        **more,
    )


LOOK = make_tool("look", Look, EffectClass.READ)
PAY = make_tool(
    "pay",
    Pay,
    EffectClass.WRITE,
    facts=(FactSpec(name="order", tool="look", arguments={"order_id": "{order_id}"}),),
    totals=(Total(name="paid", of="amount"),),
    impact=Impact(money="amount"),
)
SEND = make_tool(
    "send", Look, EffectClass.IRREVERSIBLE, data_class="personal", impact=Impact(recipients="order_id")
)
MOVE = make_tool("move", Look, EffectClass.WRITE, impact=Impact(money="order_id"))
"""A write that moves money without a cap: `capped` autonomy denies it."""
TOOLS = (LOOK, PAY, SEND, MOVE)
SESSIONS = (SessionSpec(name="customer", tools=("look",), value="id"),)
SHAPES = tool_shapes(TOOLS, SESSIONS)
ROLES = {"desk": ("lead", "support"), "night": ("support",), "guest": ()}
SETS = {"money": ("move", "pay"), "all": ("look", "move", "pay", "send")}
SCHEMA_TEXT = full_schema(SHAPES, tuple(ROLES), ROLES, SETS)


def bundle_of_texts(texts: Sequence[str]) -> Bundle:
    """A bundle of these rules as they are: no check or canary drops the one that shows a mistake."""
    rules = read_rules({"rules.cedar": "\n".join(texts)})
    sets = {tool.name: tuple(name for name, inside in SETS.items() if tool.name in inside) for tool in TOOLS}
    return Bundle(
        rules=rules,
        digest="",
        schema_text=SCHEMA_TEXT,
        undecidable={},
        unreachable=(),
        idle=(),
        _places=Places(rules=rules, tools=SHAPES, agents=frozenset(ROLES), roles=ROLES, sets=sets),
        _by_id={rule.id: rule for rule in rules},
    )


def place_of(bundle: Bundle, tool: str = "pay", agent: str = "desk") -> Place:
    """One place of a bundle."""
    return place_at(bundle, tool, agent)


def symbolic_of(*texts: str, tool: str = "pay", agent: str = "desk") -> Symbolic:
    """One place of a bundle of these rules, as formulas."""
    bundle = bundle_of_texts(texts)
    place = place_of(bundle, tool, agent)
    return symbolize(place, vocabulary_of(bundle.rules, [place]))


def rule(
    number: int,
    condition: str,
    *,
    effect: str = "forbid",
    notes: str = "",
    head: str = "principal, action, resource",
) -> str:
    """A rule as text."""
    return f'@id("r{number}") @text("rule {number}") {notes}\n{effect} ({head}) {condition};'


OPEN = rule(99, "", effect="permit")
ASKING = '@decision("require_approval") @approvers("{}")'


_PRINCIPALS = ("principal", "principal", 'principal in Role::"support"', 'principal == Agent::"desk"')
_ACTIONS = (
    "action",
    'action in Action::"write"',
    'action == Action::"pay"',
    'action in [Action::"outward", Action::"pay"]',
)
_RESOURCES = ("resource", "resource", 'resource in ToolSet::"money"', "resource is Tool")
_TEXTS = ('"a"', '"b"', '"vip"', '""', '"x*y"', '"é☂"', '"k1"', '"USD"', '"none"', '"personal"')
_PATTERNS = ('"a*"', '"*b"', '"*i*"', '"v*p"', '"x\\*y"', '"*"', '""', '"*a*b*"', '"é*"')
_LONGS = ("0", "1", "-1", "2", "7", "100", "9223372036854775807", "-9223372036854775808", "3037000500")
_DECIMALS = ("0.0", "1.0", "-1.5", "500.0", "500.0001", "20000.0", "922337203685477.5807")
_DATES = (
    "2026-06-01",
    "2026-06-01T12:00:00Z",
    "1969-12-31T23:59:59.999Z",
    "0001-01-01",
    "2026-06-01T12:00:00+0130",
)
_SPANS = ("1d", "-1d", "8h", "90m", "1ms", "-36h", "1d2h3m4s5ms", "9223372036854775807ms", "0s")
_ENTITIES = (
    "principal",
    "action",
    "resource",
    'Agent::"desk"',
    'Agent::"night"',
    'Action::"pay"',
    'Action::"write"',
    'Role::"support"',
    'Role::"lead"',
    'Tool::"pay"',
    'ToolSet::"money"',
)
_GROUPS = ("read", "write", "irreversible", "outward", "pay", "look")
_COMPARES = ("<", "<=", ">", ">=")
_DECIMAL_COMPARES = ("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual")
_UNITS = ("toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays")


class Rules:
    """Random conditions over `pay`, of every operator; some read what may not be there, without asking first."""

    def __init__(self, random: Random, *, with_like: bool = True) -> None:
        self.random = random
        self.with_like = with_like

    def one(self, *choices: str) -> str:
        """One of these."""
        return self.random.choice(choices)

    def rule(self, number: int, head: str = "") -> str:
        """A whole rule, with a head of its own or with this one."""
        effect = self.one("permit", "forbid", "forbid")
        notes = self.one(
            "", "", ASKING.format("a"), ASKING.format("b"), ASKING.format("a, b") + '@count("2")'
        )
        head = head or ", ".join((self.one(*_PRINCIPALS), self.one(*_ACTIONS), self.one(*_RESOURCES)))
        clauses = [
            f"{self.one('when', 'when', 'unless')} {{ {self.truth(3)} }}"
            for _ in range(self.random.randrange(3))
        ]
        return rule(
            number, " ".join(clauses), effect=effect, notes=notes if effect == "forbid" else "", head=head
        )

    def truth(self, depth: int) -> str:
        """Something true or false."""
        if depth <= 0:
            return self.one("true", "false", "context.args.urgent", "context.labels.n.trusted")
        deeper = depth - 1
        made = self.random.choice(
            (
                self._junction,
                self._junction,
                self._compare,
                self._compare,
                self._has,
                self._text,
                self._sets,
                self._entity,
                self._records,
                self._time,
            )
        )
        return made(deeper)

    def _junction(self, depth: int) -> str:
        one, other = self.truth(depth), self.truth(depth)
        return self.one(
            f"({one} && {other})",
            f"({one} || {other})",
            f"!({one})",
            f"(if {one} then {other} else {self.truth(depth)})",
            f"({one} == {other})",
        )

    def _compare(self, depth: int) -> str:
        if self.one("long", "decimal") == "long":
            return f"({self.long(depth)} {self.one(*_COMPARES, '==', '!=')} {self.long(depth)})"
        one, other = self.decimal(depth), self.decimal(depth)
        return self.one(f"{one}.{self.one(*_DECIMAL_COMPARES)}({other})", f"({one} == {other})")

    def _has(self, depth: int) -> str:
        return self.one(
            "(context.args has note)",
            "(context.args has bill.zip)",
            "(context.args has m && context.args.m > 3)",
            f"(context.args has note && context.args.note == {self.text(depth)})",
            "(context.session has customer)",
            "(context.session has customer && context.session.customer.value == context.args.order_id)",
            "(context.budget has money)",
            "(principal has tenant)",
            "(context.args has due && context.args.due > context.now)",
            "(context.args has bill && context.args.bill has zip)",
        )

    def _text(self, depth: int) -> str:
        one, other = self.text(depth), self.text(depth)
        if self.with_like and self.one("like", "same") == "like":
            return f"({one} like {self.one(*_PATTERNS)})"
        return self.one(f"({one} == {other})", f"({one} != {other})")

    def _sets(self, depth: int) -> str:
        kind = self.random.choice(("text", "text", "long", "decimal", "closed", "flag", "line"))
        match kind:
            case "text":
                one, item = self.texts(depth), self.text(depth)
                other = self.texts(depth)
            case "long":
                one, other, item = "context.args.codes", f"[{self.long(0)}, {self.long(1)}]", self.long(1)
            case "decimal":
                one, other, item = "context.args.prices", f"[{self.decimal(0)}]", self.decimal(0)
            case "closed":
                one, other, item = (
                    "context.args.kinds",
                    '["k1"]',
                    self.one('"k1"', '"k2"', "context.args.order_id"),
                )
            case "flag":
                one, other, item = "context.args.flags", "[true]", self.truth(0)
            case _:
                return self.one("context.args.lines.isEmpty()", "context.facts.order.lines.isEmpty()")
        return self.one(
            f"{one}.contains({item})",
            f"{one}.contains({item})",
            f"{one}.containsAll({other})",
            f"{other}.containsAll({one})",
            f"{one}.containsAny({other})",
            f"({one} == {other})",
            f"{one}.isEmpty()",
        )

    def _entity(self, depth: int) -> str:
        del depth
        return self.one(
            f"({self.one(*_ENTITIES)} == {self.one(*_ENTITIES)})",
            f'({self.one("principal", "resource")} in [Role::"support", Role::"lead"])',
            f'(action in Action::"{self.one(*_GROUPS)}")',
            f'(action in [Action::"{self.one(*_GROUPS)}", Action::"{self.one(*_GROUPS)}"])',
            f'(principal is Agent in Role::"{self.one("lead", "support")}")',
            f"({self.one('principal', 'resource')} is {self.one('Agent', 'Tool', 'Role')})",
            f"[{self.one(*_ENTITIES)}, {self.one(*_ENTITIES)}].contains({self.one(*_ENTITIES)})",
            '(resource in ToolSet::"all")',
        )

    def _records(self, depth: int) -> str:
        return self.one(
            '(context.labels.n == {trusted: true, origin: "text", sources: ["web"], classes: [], unknown_address: true})',
            f"(context.args.to == {{city: {self.text(depth)}}})",
            f"(context.args.to == {{city: {self.text(depth)}, zip: {self.text(0)}}})",
            "(context.args has bill && context.args.bill == context.args.to)",
            f"({{a: {self.long(depth)}, b: {self.text(0)}}}.a == 7)",
            f'((if {self.truth(0)} then context.args.to else {{city: "a"}}) == context.args.to)',
            f'((if {self.truth(0)} then context.args.to else {{city: "a"}}) has zip)',
            f"({{a: {self.long(depth)}}} has a)",
            '(context.totals.paid == {amount: decimal("1.0"), count: 1})',
        )

    def _time(self, depth: int) -> str:
        if self.one("instant", "span") == "instant":
            return f"({self.instant(depth)} {self.one(*_COMPARES, '==', '!=')} {self.instant(depth)})"
        return f"({self.span(depth)} {self.one(*_COMPARES, '==')} {self.span(depth)})"

    def long(self, depth: int) -> str:
        """A whole number."""
        if depth <= 0:
            return self.one(
                *_LONGS,
                "context.args.n",
                "context.args.n",
                "context.args.m",
                "context.run.calls_before",
                "context.totals.paid.count",
                "context.history.pay.done",
                "context.history.look.last",
                "context.budget.tool_calls",
            )
        one, other = self.long(depth - 1), self.long(depth - 1)
        return self.one(
            f"({one} + {other})",
            f"({one} - {other})",
            f"({one} * {other})",
            f"-({one})",
            f"(if {self.truth(depth - 1)} then {one} else {other})",
            f"{self.span(depth - 1)}.{self.one(*_UNITS)}()",
            one,
        )

    def decimal(self, depth: int) -> str:
        """A decimal."""
        if depth > 0 and self.one("if", "no", "no") == "if":
            return f"(if {self.truth(depth - 1)} then {self.decimal(0)} else {self.decimal(0)})"
        return self.one(
            f'decimal("{self.one(*_DECIMALS)}")',
            "context.args.amount",
            "context.facts.order.total",
            "context.totals.paid.amount",
            "context.budget.money",
        )

    def text(self, depth: int) -> str:
        """A text."""
        if depth > 0 and self.one("if", "no", "no") == "if":
            return f"(if {self.truth(depth - 1)} then {self.text(0)} else {self.text(0)})"
        return self.one(
            *_TEXTS,
            "context.args.order_id",
            "context.args.order_id",
            "context.args.note",
            "context.args.currency",
            "context.args.to.city",
            "context.args.bill.zip",
            "context.facts.order.status",
            "context.facts.order.id",
            "context.run.on_behalf_of",
            "context.run.autonomy",
            "context.labels.n.origin",
            "context.session.customer.value",
            "principal.tenant",
            "resource.data_class",
            "resource.effect_class",
        )

    def texts(self, depth: int) -> str:
        """A set of texts."""
        if depth > 0 and self.one("if", "no", "no") == "if":
            return f"(if {self.truth(depth - 1)} then {self.texts(0)} else {self.texts(0)})"
        return self.one(
            f"[{', '.join(self.text(0) for _ in range(self.random.randrange(1, 6)))}]",
            f"[{self.text(0)}]",
            "context.args.tags",
            "context.args.tags",
            "context.args.more",
            "context.labels.order_id.sources",
            "context.labels.n.classes",
            "context.run.classes_read",
        )

    def instant(self, depth: int) -> str:
        """A time."""
        if depth <= 0:
            return self.one(
                f'datetime("{self.one(*_DATES)}")', "context.args.since", "context.args.due", "context.now"
            )
        one = self.instant(depth - 1)
        return self.one(one, f"{one}.offset({self.span(depth - 1)})", f"{one}.toDate()")

    def span(self, depth: int) -> str:
        """A length of time."""
        if depth <= 0:
            return f'duration("{self.one(*_SPANS)}")'
        one = self.instant(depth - 1)
        return self.one(f"{one}.toTime()", f"{one}.durationSince({self.instant(depth - 1)})", self.span(0))
