"""Calls and bundles are damaged at random: nothing that the caps forbid is sent, and nothing is loosened unseen.

Two properties, each against a reference of its own below, in plain Python, that shares no code with the gates:

- *Calls.* A valid call is mutated: its values, names, containers, and the JSON text itself. It is refused by the
  schema gate, or the tool's function gets exactly what the text says to a plain reader of JSON (declared names once
  each, the same types, nothing that is not seen), and the rules permit it exactly where the caps permit the values *that the function gets*. So it is never sent where they say no, and
  never refused for nothing where they say yes.
- *Bundles.* The text of the rules or the tools under them are mutated. Loading raises `PolicyError`; or what was
  loaded refuses (or asks about) at least every call of a battery on, under and over each cap that the caps refuse (or
  ask about); or, only where the mutation is an edit that an author could mean, it permits more, and then both the
  digest and the list of rules (id, effect, decision, approvers, count, tools, text) say that it is another bundle.
  A slip of the fingers in a name, a look-alike letter and a lost quote or bracket are no such edits: under them
  nothing may be permitted that was not.

`FUZZ_COUNT` is how many mutants of each are tried (`make fuzz MUTANTS=20000`); the figures are printed.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.probes.probe_till import (
    CAPS,
    TOOLS,
    Till,
    change_plan,
    pay_cents,
    pay_in,
    query,
    refund,
    send_mail,
    slipped,
    through,
    transfer,
)
from tests.property.bundle_damage import mutated_bundle
from tests.property.call_damage import INVISIBLE, mutated_call

from answerable import Tool, tool
from answerable.errors import PolicyError
from answerable.gates.policy import Bundle, load_bundle
from answerable.gates.request import PolicyRequest
from answerable.gates.schema import Refused, accept
from answerable.kernel.decision import Verdict
from answerable.kernel.ids import EffectKey
from answerable.kernel.tool import ToolSpec, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COUNT = int(os.environ.get("FUZZ_COUNT", "0"))
CALLS = COUNT or 1000
BUNDLES = COUNT or 200
THROUGH = 100
QUIET = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
}

RULES = {
    "caps.cedar": CAPS
    + '@id("large") @text("A person looks.") @decision("require_approval") @approvers("lead, finance") @count("2")\n'
    + 'forbid (principal, action == Action::"refund", resource)\n'
    + 'when { context.args.amount.greaterThan(decimal("100.00")) };\n',
    "plans.cedar": '@id("short") @text("No long plans.") @owner("sales")\n'
    'forbid (principal, action in Action::"write", resource)\n'
    "when { context.args has days && context.args.days > 30 };\n"
    '@id("noted") @text("A paid plan says why.")\n'
    'forbid (principal, action == Action::"change_plan", resource)\n'
    'when { context.args.plan == "paid" } unless { context.args has note };\n'
    '@id("no-personal") @text("Nothing irreversible with personal data.")\n'
    'forbid (principal, action in Action::"irreversible", resource) when { resource.data_class == "personal" };\n'
    '@id("tables") @text("Reads only.")\n'
    'forbid (principal, action == Action::"query", resource) unless { ["read", "count"].contains(context.args.action) };\n',
}


@tool(mode="native_key", effect="irreversible", data_class="personal")
async def erase(order_id: str, *, key: EffectKey, till: Till) -> str:
    """Erase what is known of somebody."""
    return till.take("erase", (order_id,))


ALL_TOOLS = (*TOOLS, erase)
SPECS = tuple(each.spec for each in ALL_TOOLS)
AGENTS = ["clerk"]


# --- The reference: what the caps say about the values that a function gets, and what plain JSON says that they are


def answer(name: str, got: Any) -> str:
    """`yes`, `ask` or `no`, about the values that the tool's function got. It knows the caps and nothing else."""
    if not all(map(sayable, leaves(got))):
        return "no"
    match name:
        case "refund":
            ask = "ask" if got[1] > 100 else "yes"
            return ask if Decimal("0.01") <= got[1] <= 500 else "no"
        case "pay_cents":
            return "yes" if 0 <= got[1] <= 50_000 else "no"
        case "transfer":
            return "yes" if got[0] <= 500 and set(got[1]) <= {"DE1", "DE2"} else "no"
        case "send_mail":
            return "yes" if set(got[0]) <= {"ana@corp.example"} else "no"
        case "pay_in":
            return "yes" if got[0] <= 500 and got[1] == "USD" else "no"
        case "query":
            return "yes" if got[0] in ("read", "count") else "no"
        case "change_plan":
            plan, days, note = got
            return "no" if days > 30 or (plan == "paid" and note is None) else "yes"
        case _:
            return "no"


def leaves(value: Any) -> Iterator[Any]:
    """The plain values inside."""
    if isinstance(value, tuple):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def sayable(value: Any) -> bool:
    """Whether a rule can be shown the value exactly: four decimals, 64 bits."""
    if isinstance(value, Decimal):
        return (Fraction(value) * 10_000).denominator == 1 and abs(value) <= Decimal("922337203685477.5807")
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def plainly(name: str, raw: str) -> Any:
    """What the text says to a plain reader of JSON, in the form in which the till remembers what it got."""
    said: dict[str, Any] = json.loads(raw, parse_float=Decimal, object_pairs_hook=_once)
    names = {
        inner
        for outer, value in said.items()
        for inner in (outer, *(value if isinstance(value, dict) else ()))
    }
    assert names <= NAMES[name], "a name that nobody declared was accepted"
    match name:
        case "refund":
            return said["order_id"], Decimal(said["amount"])
        case "transfer":
            order = said["order"]
            return Decimal(order["amount"]), tuple(order.get("to", [])), order.get("note", "")
        case "send_mail":
            return tuple(said["to"]), said["body"]
        case "pay_in":
            return Decimal(said["amount"]), said["currency"]
        case "change_plan":
            return said["plan"], said.get("days", 30), said.get("note")
        case _:
            return tuple(said[key] for key in ("order_id", "cents", "action", "table") if key in said)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a name that comes twice was accepted"
    return dict(pairs)


NAMES = {
    "refund": {"order_id", "amount"},
    "pay_cents": {"order_id", "cents"},
    "transfer": {"order", "amount", "to", "note"},
    "send_mail": {"to", "body"},
    "pay_in": {"amount", "currency"},
    "query": {"action", "table"},
    "change_plan": {"plan", "days", "note"},
}
FOR_PEOPLE = {"transfer": 2, "send_mail": 1}
"""Where the till's record of a tool has text for people, which may hold any letter."""


def is_seen(name: str, got: Any) -> bool:
    """Whether nothing is in the values that their reader does not see."""
    values = [each for index, each in enumerate(got) if index != FOR_PEOPLE.get(name)]
    return not any(set(each) & set(INVISIBLE) for each in leaves(tuple(values)) if isinstance(each, str))


# --- Calls

VALID: tuple[tuple[Tool, dict[str, Any]], ...] = (
    (refund, {"order_id": "A-1", "amount": 5}),
    (refund, {"order_id": "A-1", "amount": "99.99"}),
    (refund, {"order_id": "A-1", "amount": "499.99"}),
    (refund, {"order_id": "A-1", "amount": 501}),
    (pay_cents, {"order_id": "A-1", "cents": 50_000}),
    (pay_cents, {"order_id": "A-1", "cents": 0}),
    (transfer, {"order": {"amount": "499.99", "to": ["DE1", "DE2"], "note": "rent"}}),
    (transfer, {"order": {"amount": 500, "to": []}}),
    (send_mail, {"to": ["ana@corp.example"], "body": "hello"}),
    (pay_in, {"amount": "400.00", "currency": "USD"}),
    (query, {"action": "read", "table": "orders"}),
    (change_plan, {"plan": "paid", "days": 30, "note": "asked for it"}),
    (change_plan, {"plan": "free"}),
)
BUNDLE = load_bundle(RULES, SPECS, AGENTS)
VERDICTS = {Verdict.ALLOW: "yes", Verdict.REQUIRE_APPROVAL: "ask", Verdict.DENY: "no"}


def decided(bundle: Bundle, spec: ToolSpec, arguments: Any) -> str:
    """What a bundle says of a call: `yes`, `ask` or `no`."""
    request = PolicyRequest(agent="clerk", tenant="t", on_behalf_of="", tool=spec, arguments=arguments)
    return VERDICTS[bundle.decide(request).verdict]


def received(tool: Tool, arguments: Any) -> Any:
    """What the tool's function gets when it is called as `perform` calls it."""
    till = Till()
    with suppress(StopIteration):  # these functions wait for nothing
        tool.function(**fields_of(arguments), key=EffectKey("k"), till=till).send(None)
    ((_, given),) = till.got
    return given


def came_of(tool: Tool, raw: str) -> str:
    """What came of one mutated call, held against the reference."""
    try:
        arguments = accept(tool.spec, raw)
    except Refused:
        return "refused by the schema"
    got = received(tool, arguments)
    assert got == plainly(tool.name, raw), "the function gets something else than the text says"
    assert all(map(_same_type, leaves(got), leaves(plainly(tool.name, raw))))
    assert is_seen(tool.name, got), f"{got!r} was accepted"
    verdict, wanted = decided(BUNDLE, tool.spec, arguments), answer(tool.name, got)
    assert verdict == wanted, f"the rules say {verdict} to {got}, the caps say {wanted}"
    return f"decided as the caps do: {verdict}"


def _same_type(one: object, other: object) -> bool:
    return type(one) is type(other) or (isinstance(one, str) and isinstance(other, str))


def told(what: str, tally: Counter[str]) -> str:
    """The figures of one test, as one line."""
    parts = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.items()))
    return f"\n{what}: {sum(tally.values()):,} mutants: {parts}; 0 slipped"


def test_a_damaged_call_is_refused_or_decided_on_what_the_tool_gets() -> None:
    """See the module: refused, or decided exactly as the caps decide on the values that the function gets."""
    tally: Counter[str] = Counter()

    @settings(max_examples=CALLS, **QUIET)
    @given(st.sampled_from(VALID), st.randoms(use_true_random=True))
    def each(valid: tuple[Tool, dict[str, Any]], rng: Random) -> None:
        tool, call = valid
        tally[came_of(tool, mutated_call(rng, call))] += 1

    each()
    print(told("damaged calls", tally))
    assert {
        "refused by the schema",
        *(f"decided as the caps do: {word}" for word in ("yes", "ask", "no")),
    } <= set(tally)


def test_every_valid_call_is_decided_as_the_caps_decide() -> None:
    """The reference and the rules agree where nothing was damaged: else the other tests would show nothing."""
    said = [came_of(tool, json.dumps(call)) for tool, call in VALID]

    assert {each.rpartition(" ")[2] for each in said} == {"yes", "ask", "no"}


async def test_a_damaged_call_is_never_sent_by_the_real_runtime_where_the_caps_say_no(tmp_path: Path) -> None:
    """The same by the whole way: a model's text, the gates, the journal, the tool. What reached the till is looked at."""
    rng, cases = Random(str(COUNT)), dict[str, tuple[Tool | str, Any]]()
    for number in range(THROUGH):
        tool, call = rng.choice(VALID)
        cases[f"{number}"] = (tool, mutated_call(rng, call).encode("utf-8", "replace").decode())
    came = await through(tmp_path, "model", cases, policy="".join(RULES.values()), tools=ALL_TOOLS)
    tally: Counter[str] = Counter()
    for number, each in came.items():
        tool, raw = cases[number]
        assert not isinstance(tool, str)
        expected = came_of(tool, raw)
        if each.sent:
            assert [answer(tool.name, got) for got in each.sent] == ["yes"], (raw, each)
            tally["sent, and the caps say yes"] += 1
        elif each.decided[0][0] == "require_approval":
            tally["waits for a person, as the caps say"] += 1
            assert expected.endswith("ask")
        else:
            assert slipped({number: each}) == {}
            assert expected == "refused by the schema" or expected.endswith("no")
            tally["refused, and the reason recorded"] += 1

    print(told("damaged calls through the runtime", tally))


# --- Bundles

BATTERY: tuple[tuple[Tool, dict[str, Any]], ...] = (
    *((refund, {"order_id": "o", "amount": amount}) for amount in ("0.0099", "0.01", "100", "100.0001", "500", "500.0001", "-1", "9999")),
    *((pay_cents, {"order_id": "o", "cents": cents}) for cents in (-1, 0, 50_000, 50_001)),
    *((transfer, {"order": {"amount": amount, "to": to}}) for amount in ("500", "500.0001") for to in ([], ["DE1", "DE2"], ["DE1", "EVIL"])),
    *((send_mail, {"to": to, "body": "x"}) for to in (["ana@corp.example"], ["ana@corp.example", "eve@evil.example"])),
    *((pay_in, {"amount": amount, "currency": currency}) for amount in ("500", "501") for currency in ("USD", "EUR")),
    *((query, {"action": action, "table": "t"}) for action in ("read", "count", "drop")),
    *((change_plan, {"plan": plan, "days": days, "note": note}) for plan in ("free", "paid") for days in (30, 31) for note in (None, "x")),
)  # fmt: skip
STRICTNESS = {"yes": 0, "ask": 1, "no": 2}


def battery(bundle: Bundle, specs: Sequence[ToolSpec]) -> list[str]:
    """What a bundle says to each call of the battery, as the tools under it are. What is no call there is a no."""
    by_name = {spec.name: spec for spec in specs}
    said: list[str] = []
    for each, call in BATTERY:
        spec = by_name.get(each.name)
        try:
            said.append("no" if spec is None else decided(bundle, spec, accept(spec, call)))
        except Refused:
            said.append("no")
    return said


def wanted() -> list[str]:
    """What the caps say to each call of the battery."""
    return [answer(tool.name, received(tool, accept(tool.spec, call))) for tool, call in BATTERY]


def shown(bundle: Bundle) -> list[tuple[object, ...]]:
    """The list of rules as people are shown it; comments and white space are no part of it."""
    return sorted(
        (rule.id, rule.effect, rule.decision, rule.approvers, rule.count, rule.actions, _tokens(rule.source))
        for rule in bundle.rules
    )


def _tokens(source: str) -> tuple[str, ...]:
    return tuple(re.findall(r'"(?:\\.|[^"\\])*"|[\w]+|[^\w\s]', re.sub(r"//[^\n]*", "", source)))


def test_the_battery_is_decided_as_the_caps_decide() -> None:
    """All three answers, at every edge: the undamaged bundle and the reference agree on each call."""
    assert battery(BUNDLE, SPECS) == wanted()
    assert {word: wanted().count(word) > 5 for word in ("yes", "no")} == {"yes": True, "no": True}
    assert "ask" in wanted()


def test_a_damaged_bundle_is_refused_or_as_strict_or_visibly_another_one() -> None:
    """See the module: refused when read, at least as strict, or looser in sight; under damage never looser."""
    tally: Counter[str] = Counter()
    expected, digest, listed = wanted(), BUNDLE.digest, shown(BUNDLE)

    @settings(max_examples=BUNDLES, **QUIET)
    @given(st.randoms(use_true_random=True))
    @example(Random(0))
    def each(rng: Random) -> None:
        mutant = mutated_bundle(rng, RULES, SPECS)
        try:
            bundle = load_bundle(mutant.sources, mutant.specs, AGENTS)
        except PolicyError:
            tally["refused when read"] += 1
            return
        looser = [
            (call, said, want)
            for (_, call), said, want in zip(BATTERY, battery(bundle, mutant.specs), expected, strict=True)
            if STRICTNESS[said] < STRICTNESS[want]
        ]
        if not looser:
            is_same = shown(bundle) == listed
            tally["loaded as the same rules" if is_same else "loaded as other rules, and as strict"] += 1
            return
        assert not mutant.is_damage, f"{mutant.kind} loosened the rules: {looser}"
        assert bundle.digest != digest, f"{mutant.kind}: looser under the same digest"
        assert shown(bundle) != listed, f"{mutant.kind}: looser, and the list of rules is the same: {looser}"
        tally["looser, and shown in digest and list"] += 1

    each()
    print(told("damaged bundles", tally))
    assert tally["refused when read"] > BUNDLES // 4
