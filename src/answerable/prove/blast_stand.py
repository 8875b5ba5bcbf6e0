"""Where a run stands, as formulas: exactly what its next call would be decided on.

This only guides the search: what it finds is believed when the real gates have let it through.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

from answerable.gates import provenance
from answerable.gates.request import Label
from answerable.gates.schema import canonical
from answerable.kernel.ids import utc_day
from answerable.kernel.state import Tally
from answerable.kernel.tool import UpTo, holes
from answerable.prove.assumptions import at
from answerable.prove.blast_outlook import Leaf, Outlook, is_known, is_label_read
from answerable.prove.blast_peaks import MICROS_PER_UNIT, amount_at, place_of
from answerable.prove.blast_same import exactly, is_value, is_whole
from answerable.prove.blast_values import Form
from answerable.prove.literals import DAY_MS, decimal_units
from answerable.prove.logic import at_most, both, either, equal, implies, less, modulo, negate
from answerable.prove.values import Many, Number, Parts, Words, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from answerable.kernel.tool import FactSpec
    from answerable.prove.blast_world import Answered, Underway, World
    from answerable.prove.logic import Bool, Num
    from answerable.prove.symbolic import Symbolic

ITEMS_MAX = 12
"""Lists are made of so many texts."""
NATURAL_MAX = Decimal(100_000)
_HISTORY = ("decided", "done", "last")


def stand(
    outlook: Outlook, world: World, run: Underway, window: tuple[int, int], *, is_open: bool = False
) -> list[Bool]:
    """What is true of the next call. `window` is when it can be, in microseconds.

    `is_open` leaves out what earlier calls of the run could have made otherwise: to see whether any preparation helps.
    """
    texts = outlook.texts(world, run)
    terms = [*_chosen_from(outlook, texts), *_clock(outlook.symbolic, window), *_facts(outlook, world, texts)]
    terms += [*_totals(outlook, world, window, texts), *_claims(outlook, world, texts)]
    if is_open:
        return [*terms, _user(outlook.symbolic, run)]
    return [*terms, *so_far(outlook, world, run, window), *_labels(outlook, run, texts)]


def so_far(outlook: Outlook, world: World, run: Underway, window: tuple[int, int]) -> list[Bool]:
    """What the run has done and read until now: often enough to see that a call is not possible."""
    symbolic = outlook.symbolic
    classes = symbolic.at("run", "classes_read")
    return [
        _user(symbolic, run),
        *_counts(symbolic, world, run, window),
        *_session(symbolic, run),
        exactly(symbolic, cast("Many", classes), run.origins.classes),
        is_value(symbolic, symbolic.at("run", "read_untrusted"), not run.origins.is_clean),
    ]


def _user(symbolic: Symbolic, run: Underway) -> Bool:
    user = symbolic.at("run", "on_behalf_of")
    assert isinstance(user, Words)
    return symbolic.vocabulary.texts.same(user.term, run.start.on_behalf_of)


def natural(outlook: Outlook) -> Bool:
    """Facts with amounts as they are found in books: not needed, but easier to read."""
    terms: list[Bool] = []
    for leaf in outlook.leaves:
        if leaf.path[0] == "facts" and isinstance(leaf.value, Number) and leaf.value.kind != "datetime":
            is_money = leaf.value.kind == "decimal"
            most = decimal_units(NATURAL_MAX) if is_money else int(NATURAL_MAX)
            terms += [at_most(0, leaf.value.term), at_most(leaf.value.term, most)]
            terms += [equal(modulo(leaf.value.term, decimal_units(Decimal("0.01"))), 0)] if is_money else []
    return both(*terms)


def differs(outlook: Outlook, arguments: Mapping[str, Any]) -> Bool:
    """A call with other arguments than these: no run does exactly the same write twice.

    Where a text is left open it will be a new one, and nothing has to be asked.
    """
    looked_at = {leaf.path[1] for leaf in outlook.leaves if leaf.path[0] == "args"}
    form = Form.of(outlook.spec.arguments)
    for name in set(arguments) - looked_at:
        inner = form.at((name,))
        if inner is not None and inner.is_text and "enum" not in inner.schema and "const" not in inner.schema:
            return True
    terms = [
        implies(leaf.present, is_value(outlook.symbolic, leaf.value, arguments.get(leaf.path[1])))
        for leaf in outlook.leaves
        if leaf.path[0] == "args" and len(leaf.path) == 2  # noqa: PLR2004 - an argument itself
    ]
    return negate(both(*terms))


def _chosen_from(outlook: Outlook, texts: list[str]) -> Iterator[Bool]:
    """Each text is one that is valid in its place; lists that must hold something do."""
    same_text = outlook.symbolic.vocabulary.texts
    mentioned = set(outlook.symbolic.vocabulary.strings)
    mentioned |= {text for leaf in outlook.leaves if leaf.form is not None for text in leaf.form.closed}
    for leaf in outlook.leaves:
        match leaf.value:
            case Words(term) if not isinstance(term, str):
                fit = [text for text in texts if leaf.form is None or leaf.form.takes(text)]
                if leaf.form is not None and leaf.form.closed:
                    continue
                if leaf.path not in outlook.named:  # a currency or a status is no customer's name
                    fit = [text for text in fit if text not in mentioned or not text] or fit
                yield implies(leaf.present, same_text.is_one_of(term, fit))
            case Many(items, is_opaque):
                fit = [text for text in texts if leaf.items is None or leaf.items.takes(text)][-ITEMS_MAX:]
                for item in items:
                    if (
                        not is_opaque
                        and isinstance(item.value, Words)
                        and not isinstance(item.value.term, str)
                    ):
                        yield implies(item.guard, same_text.is_one_of(item.value.term, fit))
                if leaf.form is not None and leaf.form.schema.get("minItems"):
                    yield implies(leaf.present, either(*(item.guard for item in items)))
            case Number(term, kind) if leaf.form is not None:
                if kind == "Long" and "enum" in leaf.form.schema:
                    yield either(*(equal(term, each) for each in leaf.form.schema["enum"]))
                if kind == "datetime" and leaf.form.schema.get("format") == "date":
                    yield equal(modulo(term, DAY_MS), 0)
            case _:
                pass


def _clock(symbolic: Symbolic, window: tuple[int, int]) -> Iterator[Bool]:
    now = symbolic.at("now")
    assert isinstance(now, Number)
    yield at_most(-(-window[0] // 1000), now.term)
    yield less(now.term, window[1] // 1000)


def _counts(symbolic: Symbolic, world: World, run: Underway, window: tuple[int, int]) -> Iterator[Bool]:
    """What was called before, and what is left of the budgets."""
    yield is_value(symbolic, symbolic.at("run", "calls_before"), run.decided)
    history = symbolic.at("history")
    assert isinstance(history, Parts)
    for name in history.fields:
        tally = run.tallies.get(name, Tally())
        for part in _HISTORY:
            yield is_value(symbolic, symbolic.at("history", name, part), getattr(tally, part))
    limits, spent = world.limits(run, window[0])
    for unit, limit in limits.items():
        left = max(0, limit - spent.get(unit, 0))
        value = symbolic.at("budget", unit)
        assert isinstance(value, Number)
        yield equal(value.term, left // MICROS_PER_UNIT if value.kind == "decimal" else left)


def _session(symbolic: Symbolic, run: Underway) -> Iterator[Bool]:
    session = symbolic.at("session")
    assert isinstance(session, Parts)
    for name, part in session.fields.items():
        established = run.session.get(name)
        if established is None:
            yield negate(part.present)
            continue
        yield part.present
        yield is_value(symbolic, symbolic.at("session", name, "by"), established.by)
        yield is_whole(symbolic, symbolic.at("session", name, "value"), canonical(established.value))


def _labels(outlook: Outlook, run: Underway, texts: list[str]) -> Iterator[Bool]:
    """The label of each argument, for every value that it may have: the real one."""
    symbolic, takes = outlook.symbolic, outlook.spec.takes
    reads = symbolic.place.slice("any")[0].reads
    form = Form.of(outlook.spec.arguments)
    for name in outlook.spec.arguments.model_fields:
        if not is_label_read(reads, name):
            continue
        value, inner = at(symbolic.context, ("args", name)), form.at((name,))
        there = symbolic.present("args", name)
        yield implies(negate(there), _is_label(symbolic, name, Label(origin="absent")))
        if isinstance(value, Words) and not isinstance(value.term, str) and inner is not None:
            groups: dict[Label, list[str]] = {}
            for text in texts:
                if inner.takes(text):
                    label = provenance.label_all(takes, {name: text}, run.origins, {})[name]
                    groups.setdefault(label, []).append(text)
            for label, members in groups.items():
                chosen = both(there, symbolic.vocabulary.texts.is_one_of(value.term, members))
                yield implies(chosen, _is_label(symbolic, name, label))
        elif isinstance(value, Many) and not value.is_opaque and inner is not None and inner.is_list:
            yield from _labels_of_list(outlook, run, texts, name, value)
        else:
            label = provenance.label_all(takes, {name: "?"}, run.origins, {})[name]
            yield implies(there, _is_label(symbolic, name, label))


def _labels_of_list(
    outlook: Outlook, run: Underway, texts: list[str], name: str, value: Many
) -> Iterator[Bool]:
    """A list is worth what its weakest item is worth: trusted where each is, and absent where there is none."""
    symbolic, takes, known = outlook.symbolic, outlook.spec.takes, outlook.symbolic.vocabulary.texts
    labels = {text: provenance.label_all(takes, {name: [text]}, run.origins, {})[name] for text in texts}
    trusted = [text for text, label in labels.items() if label.is_trusted]
    others = provenance.label_all(takes, {name: ["?"]}, run.origins, {})[name]
    there = symbolic.present("args", name)
    filled = either(*(item.guard for item in value.items))
    believed = both(
        *(
            implies(item.guard, known.is_one_of(item.value.term, trusted))
            for item in value.items
            if isinstance(item.value, Words)
        )
    )
    yield implies(both(there, negate(filled)), _is_label(symbolic, name, Label(origin="absent")))
    yield implies(both(there, filled, negate(believed)), _is_label(symbolic, name, others))
    if trusted:
        yield implies(both(there, filled, believed), _is_label(symbolic, name, labels[trusted[0]]))


def _is_label(symbolic: Symbolic, name: str, label: Label) -> Bool:
    trusted, origin, sources, classes, address = (
        symbolic.at("labels", name, part)
        for part in ("trusted", "origin", "sources", "classes", "unknown_address")
    )
    return both(
        is_value(symbolic, trusted, label.is_trusted),
        is_value(symbolic, origin, label.origin),
        is_value(symbolic, address, label.has_unknown_address),
        exactly(symbolic, cast("Many", sources), label.sources),
        exactly(symbolic, cast("Many", classes), label.classes),
    )


def _facts(outlook: Outlook, world: World, texts: list[str]) -> Iterator[Bool]:
    """The same question gets the same answer: as before, and within one call."""
    symbolic, facts = outlook.symbolic, outlook.spec.facts
    offered = set(texts)
    for fact in facts:
        for answer in world.answers.values():
            if answer.tool == fact.tool and is_known(answer.given, offered):
                asked = _is_question(symbolic, fact, answer)
                for leaf in outlook.leaves:
                    if asked is not None and leaf.path[:2] == ("facts", fact.name):
                        yield implies(asked, _is_answer(symbolic, leaf, answer))
    for one, other in combinations(facts, 2):
        if one.tool == other.tool:
            yield implies(_is_same_question(symbolic, one, other), _is_same_answer(outlook, one, other))


def _is_question(symbolic: Symbolic, fact: FactSpec, answer: Answered) -> Bool | None:
    """The fact asks what was asked before; None where that cannot be said."""
    terms: list[Bool] = []
    for name, template in fact.arguments.items():
        names = holes(template)
        if template != "{" + "".join(names) + "}":
            return None
        terms.append(
            is_value(symbolic, at(symbolic.context, place_of(symbolic, names[0])), answer.given.get(name))
        )
    return both(*terms)


def _is_answer(symbolic: Symbolic, leaf: Leaf, answer: Answered) -> Bool:
    value: Any = answer.value
    for name in leaf.path[2:]:
        value = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
    if value is None:
        return negate(leaf.present)
    return both(
        leaf.present, True if isinstance(leaf.value, Parts) else is_whole(symbolic, leaf.value, value)
    )


def _is_same_question(symbolic: Symbolic, one: FactSpec, other: FactSpec) -> Bool:
    terms: list[Bool] = []
    for name in {*one.arguments, *other.arguments}:
        left, right = one.arguments.get(name, ""), other.arguments.get(name, "")
        if left == right:
            continue
        if len(holes(left)) != 1 or len(holes(right)) != 1:
            return False
        values = [at(symbolic.context, place_of(symbolic, holes(each)[0])) for each in (left, right)]
        if values[0] is None or values[1] is None:
            return False
        terms.append(same(values[0], values[1], symbolic.vocabulary.texts))
    return both(*terms)


def _is_same_answer(outlook: Outlook, one: FactSpec, other: FactSpec) -> Bool:
    symbolic = outlook.symbolic
    terms: list[Bool] = []
    for leaf in outlook.leaves:
        if leaf.path[:2] == ("facts", one.name) and not isinstance(leaf.value, (Parts, Many)):
            theirs = at(symbolic.context, ("facts", other.name, *leaf.path[2:]))
            if theirs is not None:
                terms.append(same(leaf.value, theirs, symbolic.vocabulary.texts))
    return both(*terms)


def _totals(outlook: Outlook, world: World, window: tuple[int, int], texts: list[str]) -> Iterator[Bool]:
    """What each total has: for a key that was counted, what was counted; for any other, nothing."""
    symbolic = outlook.symbolic
    day = utc_day(window[0])
    for total in outlook.spec.totals:
        earlier = symbolic.earlier.get(total.name)
        count = symbolic.at("totals", total.name, "count")
        if earlier is None or not isinstance(count, Number):
            continue
        is_new: list[Bool] = []
        for (tool, name, _, period), counted in world.totals.items():
            is_it = tool == outlook.spec.name and name == total.name
            if not is_it or (total.per == "day") != bool(period) or (period and period != day):
                continue
            if not all(each in texts for each in counted.holes if isinstance(each, str)):
                continue
            same_key = _is_key(symbolic, total.by, counted.holes)
            is_new.append(negate(same_key))
            seen = both(equal(earlier, counted.amount // MICROS_PER_UNIT), equal(count.term, counted.count))
            yield implies(same_key, seen)
        yield implies(both(*is_new), both(equal(earlier, 0), equal(count.term, 0)))


def _claims(outlook: Outlook, world: World, texts: list[str]) -> Iterator[Bool]:
    """What is held of a business key cannot be taken again; amounts behind one add up to what its fact says."""
    symbolic, spec = outlook.symbolic, outlook.spec
    if spec.business_key is None:
        return
    for (tool, _), claimed in world.claims.items():
        if tool != spec.name or not all(each in texts for each in claimed.holes if isinstance(each, str)):
            continue
        same_key = _is_key(symbolic, spec.business_key, claimed.holes)
        if not isinstance(spec.cardinality, UpTo):
            yield negate(same_key)
            continue
        amount = amount_at(symbolic, spec.cardinality.amount)
        if amount is not None:
            left = (claimed.cap - claimed.amount) // MICROS_PER_UNIT
            yield implies(same_key, at_most(amount, left))
            cap = amount_at(symbolic, spec.cardinality.total)
            if cap is not None:
                taken = claimed.amount // MICROS_PER_UNIT
                yield implies(same_key, at_most(cast("Num", amount + taken), cap))


def _is_key(symbolic: Symbolic, template: str, values: tuple[object, ...]) -> Bool:
    terms = [
        is_value(symbolic, at(symbolic.context, place_of(symbolic, hole)), value)
        for hole, value in zip(holes(template), values, strict=True)
    ]
    return both(*terms)
