"""What a declaration promises must be possible: templates resolve, amounts count, modes can be kept."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, cast, get_origin

from pydantic import BaseModel

from answerable.errors import ToolError
from answerable.kernel.throttle import Breaker, Rate, parse_rate
from answerable.kernel.tool import PROBEABLE, UpTo, WriteMode, holes
from answerable.tools.argument_types import accepts, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from answerable.kernel.tool import ToolSpec
    from answerable.tools.registered import Tool

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
RATE_MAX = 1_000_000
COUNT_MAX = 1_000
"""The longest burst, and the most failures that a breaker counts: it remembers each of them."""
PERIOD_MAX_S = 86_400.0
ADDRESSES = frozenset({"url", "uri", "href", "link", "webhook", "endpoint"})
"""Parameters of these names have to say what kind of value they take."""
_NEGATIVE = (-1, Decimal(-1), Decimal("-0.01"))


class Problem:
    """Builds the errors of one tool, so that each names it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, message: str, hint: str) -> ToolError:
        """An error to raise."""
        return ToolError(f"the tool `{self.name}` {message}", hint=hint)


def check_promises(problem: Problem, tool: Tool) -> None:
    """Refuse a declaration that could not be kept, or would not mean what it seems to. Raises `ToolError`."""
    _check_numbers(problem, tool.spec)
    _check_limits(problem, tool.spec)
    if tool.spec.is_write:
        _check_write(problem, tool)
    else:
        _check_read(problem, tool)
    _check_marks(problem, tool.spec)
    _check_names(problem, tool)
    _check_templates(problem, tool)
    _check_amounts(problem, tool)


def _check_numbers(problem: Problem, spec: ToolSpec) -> None:
    if not 0 < spec.timeout_s < math.inf or spec.retry.attempts < 1:
        raise problem("has no time or no attempt", "`timeout_s` above 0, at least one attempt")
    waits = (spec.retry.backoff_s, spec.probe_lag_s, spec.key_ttl_s or 0)
    if not all(0 <= wait < math.inf for wait in waits):
        raise problem("has a pause, lag or lifetime that is none", "seconds, from 0")
    if not spec.price_usd.is_finite() or spec.price_usd < 0:
        raise problem(f"has the price `{spec.price_usd}`", 'dollars as text, from "0"')


def as_rate(problem: Problem, rate: object) -> Rate | None:
    """The rate as declared, in words or as a value. Raises `ToolError` for anything else."""
    if rate is None or isinstance(rate, Rate):
        return rate
    try:
        return parse_rate(str(rate))
    except ValueError:
        raise problem(
            f"has the rate `{rate}`", 'calls in a period, as in "10/s", "600/m" or "100/10s", or `Rate(...)`'
        ) from None


def _check_limits(problem: Problem, spec: ToolSpec) -> None:
    rate, breaker = spec.rate, spec.breaker
    if rate is not None:
        if not (_is_count(rate.calls, RATE_MAX) and _is_time(rate.per_s) and rate.interval_us > 1):
            raise problem(
                f"has a rate of {rate.calls} in {rate.per_s} s", "at least one call, in up to a day"
            )
        if not _is_count(rate.burst, COUNT_MAX):
            raise problem(f"has a burst of {rate.burst}", f"how many at once after a pause: 1 to {COUNT_MAX}")
        if rate.wait_s is not None and rate.wait_s != 0 and not _is_time(rate.wait_s):
            raise problem(
                "waits for its turn for no time that there is", "`wait_s` in seconds, from 0 to a day"
            )
    if breaker is None:
        return
    if not isinstance(breaker, Breaker):  # pyright: ignore[reportUnnecessaryIsInstance] - a declaration is not checked
        raise problem(f"has the breaker `{breaker}`", "as in `Breaker(failures=5, within_s=60, pause_s=30)`")
    if not _is_count(breaker.failures, COUNT_MAX):
        raise problem(f"opens its breaker after {breaker.failures} failures", f"1 to {COUNT_MAX}")
    if not (_is_time(breaker.within_s) and _is_time(breaker.pause_s)):
        raise problem(
            "has a breaker without a window or a pause", "`within_s` and `pause_s`: above 0, up to a day"
        )


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 < cast("float", value) <= PERIOD_MAX_S


def _check_read(problem: Problem, tool: Tool) -> None:
    spec = tool.spec
    if spec.business_key or spec.undo or spec.totals or spec.impact:
        raise problem("is a read and declares an impact", "impacts, totals, keys and undo are for writes")
    if tool.probe or tool.draft or spec.key_ttl_s is not None:
        raise problem(
            "is a read and says how it is sent again", "probe, draft and `key_ttl_s` are for writes"
        )


def _check_write(problem: Problem, tool: Tool) -> None:
    spec, injected = tool.spec, {injection for _, injection in tool.injected}
    if spec.mode is WriteMode.NATIVE_KEY and "key" not in injected:
        raise problem("is `native_key` and never takes the key", "pass it to the vendor: `*, key: EffectKey`")
    if spec.mode in PROBEABLE and tool.probe is None:
        raise problem(f"is `{spec.mode}` and has no probe", "say how to ask whether it happened: `probe=`")
    if spec.mode is WriteMode.DRAFT_THEN_COMMIT and tool.draft is None:
        raise problem("is `draft_then_commit` and has no draft", "say how to make the draft: `draft=`")
    if tool.fallback is not None:
        raise problem("is a write and has a fallback", "a write that did not happen is never made up")
    if tool.undo is not None and not tool.undo.spec.is_write:
        raise problem(
            f"is undone by `{tool.undo.name}`, which is a read", "name the write that takes it back"
        )
    if isinstance(spec.cardinality, UpTo):
        if not spec.business_key:
            raise problem("has a cardinality and no business key", "say what the amounts add up to")
    elif spec.cardinality not in ("once", "until_compensated"):
        raise problem(
            f"has the cardinality `{spec.cardinality}`", "`once`, `until_compensated` or `UpTo(...)`"
        )
    elif spec.cardinality == "until_compensated" and not (spec.business_key and tool.undo):
        raise problem("waits to be compensated and never can be", "give it a `business_key` and an `undo`")


def _check_marks(problem: Problem, spec: ToolSpec) -> None:
    """An address is a way out: whoever reads one tells its owner whatever stands in it."""
    if any(node.is_trusted or node.is_hidden for node in spec.takes.nodes()):
        raise problem(
            "marks a parameter as trusted or hidden",
            "a parameter has a `Kind`; trust belongs to what is read",
        )
    names = sorted(set(spec.arguments.model_fields) & ADDRESSES)
    for name in names:
        if not spec.takes.inside[name].kinds():
            raise problem(
                f"takes an address in `{name}` and does not say so",
                f'write `{name}: Annotated[str, Kind("url")]`, or another kind where it leads nowhere outside',
            )
    if "url" in spec.takes.kinds() and not spec.is_write:
        raise problem(
            "reads an address that the model chooses, and so tells somebody outside what stands in it",
            'say `effect="write", mode="upsert"`: it is an effect, and rules on writes and `Action::"outward"` apply',
        )


def _check_names(problem: Problem, tool: Tool) -> None:
    asked = {injection for _, injection in tool.injected}
    for what, given in (("plan", tool.plan), ("draft", tool.draft)):
        if what in asked and given is None:
            raise problem(f"takes `{what}` and declares none", f"say how it is made: `{what}=`")
    totals = [total.name for total in tool.spec.totals]
    for name in (*tool.facts, *totals):
        if not NAME.fullmatch(name):
            raise problem(f"has a fact or total called `{name}`", "use a-z, 0-9 and _, at most 64")
    if len(set(totals)) != len(totals):
        raise problem("has two totals of one name", "rename one: a rule would see only the last")
    both = sorted(set(tool.facts) & set(tool.spec.arguments.model_fields))
    if both:
        raise problem(f"has a fact and an argument called `{both[0]}`", "rename the fact")
    for total in tool.spec.totals:
        if total.per not in ("ever", "day"):
            raise problem(f"has a total per `{total.per}`", "`ever` or `day`")


def _check_templates(problem: Problem, tool: Tool) -> None:
    roots = {name: info.annotation for name, info in tool.spec.arguments.model_fields.items()}
    for key, declared in tool.facts.items():
        if declared.tool.facts:
            raise problem(f"has the fact `{key}`, which needs facts itself", "facts cannot need facts")
        for template in declared.arguments.values():
            _check_template(problem, template, roots, is_target=False)
    facts = {key: declared.tool.spec.result_annotation for key, declared in tool.facts.items()}
    for template in (tool.spec.business_key or "", *(total.by for total in tool.spec.totals)):
        _check_template(problem, template, roots | facts, is_target=True)
    if isinstance(tool.spec.cardinality, UpTo):
        total = tool.spec.cardinality.total
        ends = _ends(problem, total, roots | facts)
        if ends is not None and not set(ends) <= {int, Decimal}:
            raise problem(f"adds up to `{total}`, which is no amount", "name a Decimal or an int")


def _check_template(problem: Problem, template: str, roots: Mapping[str, Any], *, is_target: bool) -> None:
    left = template
    for hole in holes(template):
        left = left.replace("{" + hole + "}", "")
        ends = _ends(problem, hole, roots)
        if is_target and ends is not None and not all(map(_can_name, ends)):
            raise problem(
                f"has `{{{hole}}}` in a template, which names nothing", "text, integers or decimals"
            )
    if "{" in left or "}" in left:
        raise problem(f"has a stray brace in `{template}`", "write `{argument}` or `{fact.field}`")


def _ends(problem: Problem, path: str, roots: Mapping[str, Any]) -> list[Any] | None:
    """The types at a dotted path; None where that cannot be known before the call."""
    root, *rest = path.split(".")
    if root not in roots:
        raise problem(f"has `{{{path}}}` in a template", "name an argument, or a declared fact")
    found = list(leaves(roots[root]))
    for name in rest:
        inner: list[Any] = []
        for leaf in found:
            if not (isinstance(leaf, type) and issubclass(leaf, BaseModel)):
                return None
            if name not in leaf.model_fields:
                raise problem(
                    f"has `{{{path}}}`, but {leaf.__name__} has no `{name}`", "name one of its fields"
                )
            inner += leaves(leaf.model_fields[name].annotation)
        found = inner
    return found


def _can_name(leaf: Any) -> bool:
    is_enum = isinstance(leaf, type) and issubclass(leaf, StrEnum)
    return leaf in (str, int, Decimal) or is_enum or get_origin(leaf) is Literal


def _check_amounts(problem: Problem, tool: Tool) -> None:
    spec, fields = tool.spec, tool.spec.arguments.model_fields
    amounts = [total.of for total in spec.totals]
    if spec.impact is not None and spec.impact.money:
        amounts.append(spec.impact.money)
    if isinstance(spec.cardinality, UpTo):
        amounts.append(spec.cardinality.amount)
    recipients = [spec.impact.recipients] if spec.impact is not None and spec.impact.recipients else []
    for argument in (*amounts, *recipients):
        if argument not in fields:
            raise problem(f"declares an impact on `{argument}`, which is no argument", "name an argument")
    for argument in amounts:
        if not set(leaves(fields[argument].annotation)) <= {int, Decimal}:
            raise problem(f"counts `{argument}`, which is no amount", "type it as Decimal or int")
        if any(accepts(fields[argument], value) for value in _NEGATIVE):
            raise problem(
                f"counts `{argument}`, which may be negative",
                "add `Field(gt=0)`: a negative would lower a total",
            )
