"""Registration: what a tool may be made of, and what it may promise; the rest is refused, with the fix."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NewType

import pytest
from pydantic import (
    BaseModel,
    Field,
)

from answerable.errors import ToolError
from answerable.kernel.ids import EffectKey
from answerable.kernel.secret import Secret
from answerable.kernel.tool import EffectClass, Impact, Retry, Total, UpTo, WriteMode
from answerable.tools import promises
from answerable.tools.declare import Fact, Tool, fact, tool


class Colour(StrEnum):
    """Text."""

    RED = "red"


Usd = NewType("Usd", Decimal)


def signed(function: Any, annotations: dict[str, Any], result: Any = str) -> Any:
    """`function` as if it had been written with these parameters."""
    names = ", ".join(
        f"{name}=_{name}" if isinstance(given, tuple) else name for name, given in annotations.items()
    )
    scope: dict[str, Any] = {
        f"_{name}": given[1] for name, given in annotations.items() if isinstance(given, tuple)
    }
    exec(f"def {function.__name__}({names}): 'What it does.'", scope)
    made = scope[function.__name__]
    made.__annotations__ = {
        name: given[0] if isinstance(given, tuple) else given for name, given in annotations.items()
    }
    made.__annotations__["return"] = result
    return made


def plain(x: str) -> str:
    """A plain function."""
    return x


async def waits(x: str) -> str:
    """A plain async function."""
    return x


def yields(x: str) -> Iterator[str]:
    """A generator."""
    yield x


async def streams(x: str) -> AsyncIterator[str]:
    """An async generator."""
    yield x


@functools.wraps(waits)
def hides(*args: Any, **kwargs: Any) -> Any:
    """An async function behind a plain one: its coroutine would never be awaited."""
    return waits(*args, **kwargs)


@functools.wraps(waits)
async def passes_on(*args: Any, **kwargs: Any) -> Any:
    """An async function behind an async one."""
    return await waits(*args, **kwargs)


@functools.wraps(yields)
def hides_generator(*args: Any, **kwargs: Any) -> Any:
    """A generator behind a plain function."""
    return yields(*args, **kwargs)


@functools.wraps(plain)
def positional(*args: Any) -> Any:
    """It says `x`, but takes no keyword."""
    return plain(*args)


@functools.wraps(plain)
def other_names(*, y: str) -> Any:
    """It says `x`, but takes `y`."""
    return plain(y)


class Desk:
    """Has methods."""

    def look(self, x: str) -> str:
        """A method."""
        return x

    async def __call__(self, x: str) -> str:
        """A callable object."""
        return x


@pytest.mark.parametrize("function", [plain, waits, passes_on, Desk().look])
def test_functions_and_bound_methods_make_tools(function: Any) -> None:
    """Also wrapped ones, as long as the wrapper waits where the function does."""
    made = tool(effect="read", name="look")(function)
    assert list(made.spec.arguments.model_fields) == ["x"]
    assert made.is_async is asyncio.iscoroutinefunction(function)


@pytest.mark.parametrize(
    "function",
    [
        yields, streams, hides, hides_generator, positional, other_names, Desk(), Desk, Desk.look, functools.partial(plain, x="a"), functools.cache(plain), print,
        lambda: "x", lambda x: x, staticmethod(plain), None, "look",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_function_is_refused(function: Any) -> None:
    """It would return without having done its work, or do it with other arguments, or be remembered instead of done."""
    with pytest.raises(ToolError):
        tool(effect="read", name="look")(function)


def test_helpers_are_held_to_the_same() -> None:
    """A probe that is never awaited says that it happened; a plan and a fallback are pure."""
    for helper in (
        {"probe": yields},
        {"probe": functools.partial(plain)},
        {"probe": hides},
        {"plan": waits},
        {"plan": Desk()},
        {"draft": streams},
    ):
        with pytest.raises(ToolError, match="cannot be made of this"):
            pay(**helper)
    for fallback in (waits, yields, "x"):
        with pytest.raises(ToolError, match="its fallback"):
            tool(effect="read", name="look", fallback=fallback)(plain)  # type: ignore[arg-type]


def test_everything_has_to_be_said() -> None:
    """Types, result, docstring; nothing open, nothing by position only."""

    def no_type(x):  # type: ignore[no-untyped-def]
        """."""

    def no_result(x: str):  # type: ignore[no-untyped-def]
        """."""

    def no_words(x: str) -> str:
        return x

    def open_ended(x: str, **more: str) -> str:
        """."""
        return x

    def starred(*x: str) -> str:
        """."""
        return ""

    def by_position(x: str, /) -> str:
        """."""
        return x

    def forward(x: "NotThere") -> str:  # type: ignore[name-defined]  # noqa: F821
        """."""
        return x

    def broken(x: "list[") -> str:  # type: ignore[valid-type]  # noqa: F722
        """."""
        return x

    def secret_result(x: str) -> Secret:
        """."""
        return Secret(x)

    def strange_result(x: str) -> Callable[[], str]:
        """."""
        return str

    for function, why in (
        (no_type, "does not type `x`"),
        (no_result, "does not type its result"),
        (no_words, "no docstring"),
        (open_ended, r"takes `\*\*more"),
        (starred, r"takes `\*x"),
        (by_position, "position only"),
        (forward, "cannot be read"),
        (broken, "cannot be read"),
        (secret_result, "result without a schema"),
        (strange_result, "result without a schema"),
    ):
        with pytest.raises(ToolError, match=why):
            tool(effect="read")(function)


def test_what_stands_behind_the_star_is_injected_and_never_shown_to_a_model() -> None:
    """By type, by name, else from the runtime's resources."""

    @tool(mode="draft_then_commit", probe=plain, draft=plain, plan=plain)
    def send(x: str, *, key: EffectKey, token: Secret, plan: Any, draft: Any, shop: Desk) -> None:
        """Send it."""

    assert dict(send.injected) == {
        "key": "key",
        "token": "secret",
        "plan": "plan",
        "draft": "draft",
        "shop": "resource",
    }
    assert list(send.spec.parameters()["properties"]) == ["x"]
    assert send.spec.parameters()["additionalProperties"] is False


def test_a_tool_is_not_callable() -> None:
    """Calling it would pass no gate."""
    with pytest.raises(ToolError, match="would pass no gate"):
        get_order("a", x="b")


def pay(**changes: Any) -> Tool:
    """A write with as little said as possible."""
    given: dict[str, Any] = {"mode": "upsert"} | changes

    @tool(**given)
    def pay(
        order_id: str,
        amount: Annotated[Decimal, Field(gt=0)],
        to: str = "",
        count: int = 1,
        flag: bool = False,
    ) -> str:
        """Pay."""
        return ""

    return pay


class Customer(BaseModel):
    """Part of a fact."""

    id: str
    tags: list[str]


class Order(BaseModel):
    """A fact."""

    total: Decimal | None
    status: Colour
    customer: Customer | None


@tool(effect="read")
def get_order(order_id: str, verbose: bool = False) -> Order:
    """Read an order."""
    raise NotImplementedError


@tool(effect="read")
def get_raw(order_id: str) -> dict[str, Any]:
    """Read an order as it is."""
    raise NotImplementedError


ORDER = {"order": fact(get_order, order_id="{order_id}")}


def test_a_declaration_that_can_be_kept_is_accepted() -> None:
    """Keys, totals, facts, cardinality, undo: all resolve."""
    made = pay(
        effect="irreversible",
        business_key="pay:{order_id}:{order.customer.id}:{order.status}:{count}",
        cardinality=UpTo(amount="amount", total="order.total"),
        totals=(
            Total(name="day", of="amount", per="day"),
            Total(name="customer", of="count_", by="{order.customer.id}"),
        )[:1],
        facts=ORDER,
        impact=Impact(money="amount", recipients="to"),
        undo=pay(),
        plan=plain,
        probe=plain,
        key_ttl_s=60,
        retry=Retry(attempts=1),
        price_usd="0.002",
    )
    assert (made.spec.effect_class, made.spec.mode, made.spec.undo) == (
        EffectClass.IRREVERSIBLE,
        WriteMode.UPSERT,
        "pay",
    )
    assert made.spec.plan_digest
    assert made.spec.facts[0].tool == "get_order"


def named(case: object) -> str:
    """A name of a case that is the same in every process: no addresses in it."""
    return "+".join(case) if isinstance(case, dict) else str(case)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": None}, "does not say what it does"),
        ({"mode": "upsrt"}, "unknown effect or mode"),
        ({"effect": "raed"}, "unknown effect or mode"),
        ({"effect": "read"}, "is a read and has a write mode"),
        ({"mode": "native_key"}, "never takes the key"),
        ({"mode": "probe_then_write"}, "no probe"),
        ({"mode": "draft_then_commit"}, "no probe"),
        ({"mode": "draft_then_commit", "probe": plain}, "no draft"),
        ({"fallback": plain}, "is a write and has a fallback"),
        ({"undo": get_order}, "which is a read"),
        ({"cardinality": UpTo(amount="amount", total="order.total"), "facts": ORDER}, "no business key"),
        ({"cardinality": "onec"}, "cardinality `onec`"),
        ({"cardinality": "until_compensated", "business_key": "{order_id}"}, "never can be"),
        ({"timeout_s": 0}, "no time"),
        ({"timeout_s": float("nan")}, "no time"),
        ({"timeout_s": float("inf")}, "no time"),
        ({"retry": Retry(attempts=0)}, "no attempt"),
        ({"retry": Retry(backoff_s=-1)}, "pause, lag or lifetime"),
        ({"probe_lag_s": -1}, "pause, lag or lifetime"),
        ({"key_ttl_s": float("nan")}, "pause, lag or lifetime"),
        ({"price_usd": "free"}, "price `free`"),
        ({"price_usd": "-1"}, "price `-1`"),
        ({"price_usd": "NaN"}, "price `NaN`"),
        ({"business_key": "pay:{oder_id}"}, r"has `\{oder_id\}`"),
        ({"business_key": "pay:{order_id"}, "stray brace"),
        ({"business_key": "pay:{order id}"}, "stray brace"),
        ({"business_key": "pay:{order_id!r}"}, "stray brace"),
        ({"business_key": "pay:{flag}"}, "names nothing"),
        ({"business_key": "{order.totl}", "facts": ORDER}, "has no `totl`"),
        ({"business_key": "{order.customer.tags}", "facts": ORDER}, "names nothing"),
        ({"totals": (Total(name="n", of="amuont"),)}, "is no argument"),
        ({"totals": (Total(name="n", of="order_id"),)}, "is no amount"),
        ({"totals": (Total(name="n", of="count"),)}, "may be negative"),
        ({"totals": (Total(name="n", of="amount", by="{x}"),)}, r"has `\{x\}`"),
        ({"totals": (Total(name="n", of="amount"), Total(name="n", of="amount"))}, "two totals"),
        ({"totals": (Total(name="größe", of="amount"),)}, "fact or total called"),
        ({"totals": (Total(name="n", of="amount", per="dya"),)}, "a total per `dya`"),  # type: ignore[arg-type]
        ({"impact": Impact(money="count")}, "may be negative"),
        ({"impact": Impact(money="total")}, "is no argument"),
        ({"impact": Impact(recipients="cc")}, "is no argument"),
        ({"business_key": "k", "cardinality": UpTo(amount="amount", total="oder.total"), "facts": ORDER}, "oder"),
        ({"business_key": "k", "cardinality": UpTo(amount="amount", total="order.status"), "facts": ORDER}, "which is no amount"),
        ({"facts": {"order_id": ORDER["order"]}}, "a fact and an argument"),
        ({"facts": {"Order": ORDER["order"]}}, "fact or total called"),
        ({"facts": {"order": fact(get_order, order_id="{oder_id}")}}, r"has `\{oder_id\}`"),
        ({"facts": {"order": fact(get_order, order_id="{order}")}}, r"has `\{order\}`"),
    ],
    ids=named,
)  # fmt: skip
def test_a_declaration_that_could_not_be_kept_is_refused(changes: dict[str, Any], why: str) -> None:
    """Each of these would fail, or worse, not fail, at the first call."""
    with pytest.raises(ToolError, match=why) as refused:
        pay(**changes)
    assert refused.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"business_key": "{x}"}, {"undo": pay()}, {"totals": (Total(name="n", of="x"),)}, {"impact": Impact()}, {"probe": plain}, {"draft": plain},
        {"key_ttl_s": 1.0},
    ],
    ids=named,
)  # fmt: skip
def test_a_read_declares_nothing_that_only_a_write_can_have(changes: dict[str, Any]) -> None:
    """Whoever says so believes that it is a write."""
    with pytest.raises(ToolError, match="is a read and"):
        tool(effect="read", **changes)(plain)


@pytest.mark.parametrize("name", ["plan", "draft"])
def test_who_takes_a_plan_or_a_draft_must_declare_one(name: str) -> None:
    """Otherwise it would send what nobody made."""

    def with_plan(x: str, *, plan: Any) -> None:
        """Send."""

    def with_draft(x: str, *, draft: Any) -> None:
        """Send."""

    with pytest.raises(ToolError, match=f"takes `{name}` and declares none"):
        tool(mode="upsert")({"plan": with_plan, "draft": with_draft}[name])


def test_an_amount_may_have_a_name_of_its_own() -> None:
    """What counts is what is behind it."""

    @tool(mode="upsert", totals=(Total(name="n", of="amount"),))
    def pay_usd(amount: Annotated[Usd, Field(gt=0)]) -> None:
        """Pay."""

    assert pay_usd.spec.totals[0].of == "amount"


def test_a_fact_is_a_read_with_all_that_it_needs() -> None:
    """A write, an unknown parameter and a missing one are refused; facts do not need facts."""
    with pytest.raises(ToolError, match="is a write"):
        fact(pay(), order_id="{order_id}", amount="{amount}")
    with pytest.raises(ToolError, match="has no parameter `id`"):
        fact(get_order, id="{order_id}")
    with pytest.raises(ToolError, match="does not say `order_id`"):
        fact(get_order)
    nested = replace(get_order, facts=ORDER)
    with pytest.raises(ToolError, match="needs facts itself"):
        pay(facts={"order": Fact(tool=nested, arguments={"order_id": "{order_id}"})})


def test_a_path_into_what_has_no_model_is_looked_at_only_when_it_is_called() -> None:
    """There it fails closed: what is not there cannot name a target."""
    raw = {"raw": fact(get_raw, order_id="{order_id}")}
    assert pay(business_key="{raw.customer.id}", facts=raw).spec.business_key
    assert pay(
        business_key="k", cardinality=UpTo(amount="amount", total="raw.total"), facts=raw
    ).spec.business_key


def test_a_changed_plan_is_another_tool() -> None:
    """Its digest is part of what a release is pinned to; a plan whose source is not at hand goes by its name."""

    def other(x: str) -> str:
        """Another plan."""
        return x * 2

    assert (
        len({pay().spec.plan_digest, pay(plan=plain).spec.plan_digest, pay(plan=other).spec.plan_digest}) == 3
    )
    assert pay(plan=signed(plain, {"x": str})).spec.plan_digest


def test_problems_name_their_tool() -> None:
    """In a project with a hundred tools."""
    assert "the tool `t` is odd" in str(promises.Problem("t")("is odd", "make it even"))
