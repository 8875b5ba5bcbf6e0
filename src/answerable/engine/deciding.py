"""From a raw proposal to a decision: arguments, plan, facts, totals and labels are gathered, then the gates asked.

The gates are pure and get values; everything that has to be read for them is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from answerable.engine import throttling
from answerable.engine.learning import learn, resolve
from answerable.gates import pipeline, provenance, schema
from answerable.gates.request import Label, PolicyRequest, TotalValue
from answerable.kernel.decision import Decision, ReasonCode, deny
from answerable.kernel.encoding import encode_payload, scrub
from answerable.kernel.ids import StepPath, claim_key, total_key, utc_day
from answerable.kernel.money import from_micros, to_micros
from answerable.kernel.tool import EffectClass, TemplateError, UpTo, fields_of, look_up, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from answerable.engine.context import Context
    from answerable.engine.learning import Learned
    from answerable.gates.request import Autonomy
    from answerable.kernel.state import RunState, Tally
    from answerable.kernel.tool import FactSpec, ToolSpec
    from answerable.tools.declare import Tool

_HOLE = re.compile(r"\{[a-zA-Z0-9_.]+\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalSeen:
    """A running total as it was when the gates decided."""

    key: str
    name: str
    amount: int
    seen_amount: int
    seen_count: int


@dataclass(slots=True, kw_only=True)
class Proposal:
    """One proposed call and what was gathered for it. `spec` is None where the call is not valid."""

    path: StepPath
    name: str
    digest: str
    tool: Tool | None = None
    spec: ToolSpec | None = None
    arguments: BaseModel | None = None
    canonical: Any = None
    args: str | None = None
    plan: Any = None
    problem: str = ""
    labels: dict[str, Label] = field(default_factory=dict[str, Label])
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    fact_refs: dict[str, str] = field(default_factory=dict[str, str])
    facts_cost: int = 0
    totals: tuple[TotalSeen, ...] = ()
    claim: dict[str, Any] | None = None
    request: PolicyRequest | None = None
    """What the rules were asked."""

    def label_texts(self) -> dict[str, tuple[str, ...]]:
        """The labels as an entry holds them."""
        return {name: label.texts() for name, label in self.labels.items()}


async def propose(
    ctx: Context, path: StepPath, name: str, raw: Any, offered: frozenset[str] | None = None
) -> Proposal:
    """Validate a raw proposal. A call that is not valid has a `problem` and no `spec`."""
    tool = ctx.tools.get(name)
    usable = ctx.usable(offered)
    if tool is None or name not in usable:
        names = ", ".join(f"`{known}`" for known in sorted(usable))
        return _invalid(ctx, path, name, raw, f"there is no tool of that name; there are {names}")
    state, specs = ctx.recorder.state, ctx.specs
    learned = await learn(ctx.learned, state, ctx.agent, specs, ctx.recorder.content)
    try:
        given, handed = await resolve(raw, tool.spec, state, specs, ctx.recorder.content)
        arguments = schema.accept(tool.spec, given)
    except schema.Refused as refused:
        return _invalid(ctx, path, name, raw, str(refused))
    canonical = schema.canonical(arguments)
    args = ctx.recorder.seal(canonical, "arguments")
    plan: Any = None
    if tool.plan is not None:
        try:
            plan = orjson.loads(encode_payload(tool.plan(arguments)))
        except Exception as error:  # noqa: BLE001 - without a plan there is nothing that could be approved
            return _invalid(ctx, path, name, raw, f"its plan cannot be made: {error}")
    digest = ctx.recorder.digest("answerable/proposal/v1", name, args, encode_payload(plan).decode())
    return Proposal(
        path=path,
        name=name,
        digest=digest,
        tool=tool,
        spec=tool.spec,
        arguments=arguments,
        canonical=canonical,
        args=args,
        plan=plan,
        labels=provenance.label_all(tool.spec.takes, canonical, learned.origins, handed),
    )


def _invalid(ctx: Context, path: StepPath, name: str, raw: Any, problem: str) -> Proposal:
    text = raw if isinstance(raw, str) else repr(raw)
    args = ctx.recorder.seal({"raw": scrub(text)[:4096]}, "arguments")
    return Proposal(
        path=path,
        name=name,
        problem=problem,
        args=args,
        digest=ctx.recorder.digest("answerable/proposal/v1", scrub(name), args, ""),
    )


async def decide(ctx: Context, proposal: Proposal, discharged: frozenset[str]) -> Decision:
    """Gather facts, totals and the claim, then ask every gate."""
    spec = proposal.spec
    assert spec is not None
    assert proposal.arguments is not None
    assert proposal.args is not None
    try:
        await _gather_facts(ctx, proposal)
        values = {**fields_of(proposal.arguments), **proposal.facts}
        proposal.totals = await _totals(ctx, spec, values)
        proposal.claim = _claim(ctx, proposal, values)
    except (NoFact, TemplateError, ValueError) as problem:
        return deny(
            "facts",
            ReasonCode.FACT_UNAVAILABLE,
            str(problem),
            rules=("facts-complete",),
            digest=ctx.policy.digest,
        )
    state = ctx.recorder.state
    now = ctx.ports.clock.now_us()
    is_counted = str(proposal.path) in state.calls
    limits, spent = await _budgets(ctx, now)
    learned = await learn(ctx.learned, state, ctx.agent, ctx.specs, ctx.recorder.content)
    request = proposal.request = policy_request(
        state,
        learned,
        str(proposal.path),
        agent=ctx.agent.name,
        tenant=ctx.tenant,
        on_behalf_of=ctx.person.on_behalf_of,
        tool=spec,
        arguments=proposal.arguments,
        labels=proposal.labels,
        facts=proposal.facts,
        totals={
            total.name: (total.seen_amount + total.amount, total.seen_count) for total in proposal.totals
        },
        autonomy=ctx.autonomy(spec.name),
        budget_left=_left(limits, spent, is_counted=is_counted),
        now_us=now,
    )
    situation = pipeline.Situation(
        history=list(state.history),
        args=proposal.args,
        unknown_tools=frozenset(_unknown_tools(ctx, proposal)),
        is_done=(spec.name, proposal.args) in state.done,
        limits=limits,
        spent=spent,
        ask={} if is_counted else {"tool_calls": 1, "tool_calls_per_day": 1},
        wall_clock_us=ctx.wall_clock_us(),
        active_us=state.spent.active_us + max(0, now - state.last_at),
        discharged=discharged,
    )
    return pipeline.decide(request, situation, ctx.policy)


def policy_request(
    state: RunState,
    learned: Learned,
    path: str,
    *,
    agent: str,
    tenant: str,
    on_behalf_of: str,
    tool: ToolSpec,
    arguments: BaseModel,
    labels: Mapping[str, Label],
    facts: Mapping[str, object],
    totals: Mapping[str, tuple[int, int]],
    autonomy: Autonomy,
    budget_left: Mapping[str, int],
    now_us: int,
) -> PolicyRequest:
    """What the rules are asked about the call at `path`: what was gathered for it, and the run as it was before it.

    Whoever asks again later, from the journal, asks with this. `totals` are micros with this call, and calls before it.
    """
    is_counted = path in state.calls
    return PolicyRequest(
        agent=agent,
        tenant=tenant,
        on_behalf_of=on_behalf_of,
        tool=tool,
        arguments=arguments,
        labels=labels,
        facts=facts,
        totals={
            name: TotalValue(amount=from_micros(amount), count=count)
            for name, (amount, count) in totals.items()
        },
        autonomy=autonomy,
        calls_before=state.spent.tool_calls - is_counted,
        classes_read=frozenset(learned.origins.classes),
        has_read_untrusted=not learned.origins.is_clean,
        session=dict(learned.session),
        history=_history(state, tool.name if is_counted else None),
        budget_left=budget_left,
        now_us=now_us,
    )


def _history(state: RunState, counted: str | None) -> dict[str, Tally]:
    """What was done before this call; one that is decided again does not count itself."""
    history = dict(state.tallies)
    if counted is not None:
        history[counted] = replace(history[counted], decided=history[counted].decided - 1)
    return history


def _left(limits: Mapping[str, int], spent: Mapping[str, int], *, is_counted: bool) -> dict[str, int]:
    """What is left of each budget before this call."""
    own = {"tool_calls": 1} if is_counted else {}
    return {unit: max(0, limit - spent.get(unit, 0) + own.get(unit, 0)) for unit, limit in limits.items()}


async def _budgets(ctx: Context, now: int) -> tuple[dict[str, int], dict[str, int]]:
    limits = dict(ctx.agent.budget.limits())
    run = ctx.recorder.state.spent
    spent = {
        "tool_calls": run.tool_calls,
        "model_calls": run.model_calls,
        "tokens": run.tokens,
        "money": run.money,
    }
    if ctx.agent.budget_per_day is not None:
        used = await ctx.recorder.store.budget(ctx.day_budget(now))
        for unit, limit in ctx.agent.budget_per_day.limits().items():
            limits[f"{unit}_per_day"] = limit
            spent[f"{unit}_per_day"] = sum(used.get(unit, (0, 0)))
    return limits, spent


def _unknown_tools(ctx: Context, proposal: Proposal) -> set[str]:
    """Tools of which an effect of this run on the same target may have happened.

    The target is the business key where there is one, else any target: better one call too few.
    """
    state = ctx.recorder.state
    found: set[str] = set()
    for path in state.unknown.values():
        step = state.calls[path]
        if path == str(proposal.path) or step.intent is None:
            continue
        theirs = (step.intent.claim or {}).get("key")
        ours = (proposal.claim or {}).get("key")
        rule = (proposal.claim or {}).get("rule")
        if step.intent.tool == proposal.name and (rule == "default" or theirs == ours):
            found.add(proposal.name)
    return found


class NoFact(Exception):
    """A fact that is needed to decide, or to judge the outcome, cannot be had."""


async def _gather_facts(ctx: Context, proposal: Proposal) -> None:
    spec = proposal.spec
    assert spec is not None
    assert proposal.arguments is not None
    proposal.facts, proposal.fact_refs, proposal.facts_cost = {}, {}, 0
    for fact in spec.facts:
        value, ref, cost = await _fact(ctx, spec, fact, proposal.arguments)
        proposal.facts[fact.name] = value
        proposal.fact_refs[fact.name] = ref
        proposal.facts_cost += cost


async def _fact(ctx: Context, spec: ToolSpec, fact: FactSpec, arguments: BaseModel) -> tuple[Any, str, int]:
    return await read_fact(
        ctx,
        fact.name,
        ctx.tools[fact.tool],
        fact_arguments(fact.arguments, fields_of(arguments)),
        max_age_s=0.0 if spec.effect_class is EffectClass.IRREVERSIBLE else fact.max_age_s,
    )


def fact_arguments(templates: dict[str, str], values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a fact's read. A template that is a single hole passes the value on as it is."""
    return {
        name: schema.canonical(look_up(template[1:-1], values))
        if _HOLE.fullmatch(template)
        else render(template, values)
        for name, template in templates.items()
    }


async def read_fact(
    ctx: Context, name: str, tool: Tool, given: dict[str, Any], *, max_age_s: float
) -> tuple[Any, str, int]:
    """Read one fact: its validated value, the ref of its content, and what it cost in micro-dollars.

    Raises `NoFact` where it cannot be had: a fact that is missing or late is a deny, never a guess.
    """
    now_ns = ctx.ports.clock.monotonic_ns()  # how old a fact is, no correction of the wall clock may say
    cache_key = f"{tool.name}\x1f{orjson.dumps(given, option=orjson.OPT_SORT_KEYS).decode()}"
    known = ctx.facts.get(cache_key)
    if known is not None and now_ns - known[0] < max_age_s * 1e9:
        return _value(tool, await ctx.recorder.content(known[1])), known[1], 0
    try:
        arguments = schema.accept(tool.spec, given)
    except schema.Refused as refused:
        raise NoFact(f"the fact `{name}` cannot be read: {refused}") from None
    async with await throttling.take(ctx, tool.spec) as turn:
        sent = turn.refusal or await ctx.performer.read(tool, arguments)
        await turn.tell(sent)
    if sent.state != "done":
        raise NoFact(f"the fact `{name}` cannot be read: {sent.error or sent.failure}")
    ref = ctx.recorder.seal(sent.result, "fact")
    ctx.facts[cache_key] = (now_ns, ref)
    return _value(tool, sent.result), ref, to_micros(tool.spec.price_usd)


async def recorded_facts(ctx: Context, proposal: Proposal) -> dict[str, Any]:
    """The facts that a call was decided on, from the journal: what is sent again must be sent with the same."""
    step = ctx.recorder.state.calls[str(proposal.path)]
    assert proposal.spec is not None
    tools = {fact.name: ctx.tools[fact.tool] for fact in proposal.spec.facts}
    return {
        name: _value(tools[name], await ctx.recorder.content(ref))
        for name, ref in step.decided.facts.items()
        if name in tools
    }


def _value(tool: Tool, content: Any) -> Any:
    try:
        return tool.spec.result.validate_json(encode_payload(content))
    except ValidationError as error:
        raise NoFact(f"`{tool.name}` answered in another form than it declares: {error}") from None


async def _totals(ctx: Context, spec: ToolSpec, values: dict[str, Any]) -> tuple[TotalSeen, ...]:
    found: list[TotalSeen] = []
    for total in spec.totals:
        day = utc_day(ctx.ports.clock.now_us()) if total.per == "day" else ""
        target = render(total.by, values) if total.by else ctx.agent.name
        key = total_key(ctx.recorder.store.tenant_key, f"{spec.name}.{total.name}", target, day)
        amount = _amount(values, total.of)
        seen_amount, seen_count = await ctx.recorder.store.total(key)
        found.append(
            TotalSeen(key=key, name=total.name, amount=amount, seen_amount=seen_amount, seen_count=seen_count)
        )
    return tuple(found)


def _amount(values: dict[str, Any], path: str) -> int:
    value = look_up(path, values)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        message = f"`{path}` is not an amount"
        raise TemplateError(message)
    return to_micros(Decimal(value))


def _claim(ctx: Context, proposal: Proposal, values: dict[str, Any]) -> dict[str, Any] | None:
    spec = proposal.spec
    assert spec is not None
    if not spec.is_write:
        return None
    tenant_key = ctx.recorder.store.tenant_key
    if spec.business_key is None:
        target, rule = encode_payload(proposal.canonical).decode(), "default"
    else:
        target, rule = render(spec.business_key, values), "up_to"
        if not isinstance(spec.cardinality, UpTo):
            rule = spec.cardinality
    claim: dict[str, Any] = {
        "key": claim_key(tenant_key, ctx.tenant, spec.name, target),
        "rule": rule,
        "amount": 0,
        "cap": 0,
    }
    if rule == "up_to" and isinstance(spec.cardinality, UpTo):
        claim["amount"] = _amount(values, spec.cardinality.amount)
        claim["cap"] = _amount(values, spec.cardinality.total)
    return claim
