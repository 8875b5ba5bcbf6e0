"""Where a run stands, as formulas: exactly what its next call would be decided on.

Texts are chosen from a list of real ones: those that rules mention, those that the run already knows, and new ones that are
valid where they stand. So whatever is found can be written down as a call. This only guides the search: what it finds is
believed when the real gates have let it through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any, cast

from cedarpy import pst

from answerable.gates import provenance
from answerable.gates.policy.tree import chain, walk
from answerable.gates.request import Label
from answerable.gates.schema import canonical
from answerable.kernel.ids import utc_day
from answerable.kernel.state import Tally
from answerable.kernel.tool import UpTo, holes
from answerable.prove.assumptions import at, present
from answerable.prove.blast_peaks import MICROS_PER_UNIT, Question, amount_at, place_of
from answerable.prove.blast_values import Form, Maker, Path
from answerable.prove.blast_world import plain_texts
from answerable.prove.literals import DAY_MS, decimal_units
from answerable.prove.logic import at_most, both, either, equal, implies, less, modulo, negate
from answerable.prove.symbols import leaves
from answerable.prove.values import Many, Number, Parts, Truth, Words, same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from answerable.gates.policy.tree import Reads
    from answerable.kernel.tool import FactSpec, ToolSpec
    from answerable.prove.blast_world import Answered, Underway, World
    from answerable.prove.logic import Bool, Num
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.values import Value

FRESH = 2
"""So many new texts are offered at each place: two of them may have to differ."""
KNOWN_MAX = 60
NATURAL_MAX = Decimal(100_000)
_HISTORY = ("decided", "done", "last")


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A place in the context that a rule or a declaration looks at. `form` is None where its type is not followed."""

    path: Path
    present: Bool
    value: Value
    form: Form | None
    is_optional: bool


@dataclass(slots=True, eq=False)
class Outlook:
    """One tool, as seen by a search: the places that matter, and what can stand in them."""

    question: Question
    maker: Maker
    leaves: list[Leaf] = field(default_factory=list["Leaf"])
    named: set[Path] = field(default_factory=set[Path])
    """Places that a rule compares with a text that it mentions."""
    spare: dict[Path, list[str]] = field(default_factory=dict["Path", list[str]])
    patterns: list[tuple[pst.PatternElem, ...]] = field(default_factory=list[tuple[pst.PatternElem, ...]])

    def __post_init__(self) -> None:
        self.leaves = [*_leaves(self.question.symbolic)]
        for met in self.question.symbolic.rules:
            for node in walk(met.rule.body.clauses):
                if isinstance(node, pst.BinaryOp):
                    self._compared(node)
                elif isinstance(node, pst.Like):
                    self.patterns.append(node.pattern)

    def _compared(self, node: pst.BinaryOp) -> None:
        for one, other in ((node.left, node.right), (node.right, node.left)):
            found = chain(one)
            if found is not None and any(isinstance(each, pst.StringLit) for each in walk(other)):
                self.named.add(found[1])

    @property
    def symbolic(self) -> Symbolic:
        """The place as formulas."""
        return self.question.symbolic

    @property
    def spec(self) -> ToolSpec:
        """The tool."""
        return self.question.spec

    def _new(self, world: World, leaf: Leaf) -> list[str]:
        """New texts for a place: those that were offered before and not taken, and as many more as are needed."""
        assert leaf.form is not None
        offered = [text for text in self.spare.get(leaf.path, ()) if text not in world.seen]
        made = (self.maker.text(leaf.form, leaf.path[-1]) for _ in range(FRESH - len(offered)))
        self.spare[leaf.path] = [*offered, *(text for text in made if text is not None)]
        return self.spare[leaf.path]

    def texts(self, world: World, run: Underway) -> list[str]:
        """Every text that may be chosen: mentioned, known to the run, or new."""
        found = dict.fromkeys(self.symbolic.vocabulary.strings)
        found.update(dict.fromkeys(_known(run)))
        for step in run.steps[-1:]:
            found.update(
                dict.fromkeys(each for each in plain_texts(step.arguments) if each in self.maker.made)
            )
        for leaf in self.leaves:
            if leaf.form is not None and leaf.form.is_text:
                found.update(dict.fromkeys(leaf.form.closed or self._new(world, leaf)))
        for pattern in self.patterns:
            for _ in range(FRESH):
                found.setdefault(self.maker.like(pattern))
        for answer in world.answers.values():
            if {fact.tool for fact in self.spec.facts} & {answer.tool} and _is_known(answer.given, found):
                found.update(
                    dict.fromkeys(each for each in plain_texts(answer.value) if each in self.maker.made)
                )
        return list(found)


def stand(
    outlook: Outlook, world: World, run: Underway, window: tuple[int, int], *, is_open: bool = False
) -> list[Bool]:
    """What is true of the next call. `window` is when it can be, in microseconds.

    `is_open` leaves out what earlier calls of the run could have made otherwise: to see whether any preparation helps.
    """
    symbolic = outlook.symbolic
    texts = outlook.texts(world, run)
    terms = [*_chosen_from(outlook, texts), *_clock(symbolic, window), *_facts(outlook, world, texts)]
    terms += [*_totals(outlook, world, window, texts), *_claims(outlook, world, texts)]
    same_text = symbolic.vocabulary.texts.same
    user = symbolic.at("run", "on_behalf_of")
    assert isinstance(user, Words)
    terms.append(same_text(user.term, run.start.on_behalf_of))
    if not is_open:
        terms += [*_counts(symbolic, world, run, window), *_session(symbolic, run)]
        terms += [*_labels(outlook, run, texts)]
        classes = symbolic.at("run", "classes_read")
        terms.append(exactly(symbolic, cast("Many", classes), run.origins.classes))
        terms.append(is_value(symbolic, symbolic.at("run", "read_untrusted"), not run.origins.is_clean))
    return terms


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


def exactly(symbolic: Symbolic, many: Many, texts: Collection[str]) -> Bool:
    """A set of texts that holds just these. Those that no rule mentions are as good as one another."""
    known = set(symbolic.vocabulary.texts.known)
    other = sorted(set(texts) - known)
    terms: list[Bool] = []
    unnamed: list[Bool] = []
    for item in many.items:
        assert isinstance(item.value, Words)
        if isinstance(item.value.term, str):
            terms.append(item.guard if item.value.term in texts else negate(item.guard))
        else:
            unnamed.append(item.guard)
            terms.append(implies(item.guard, symbolic.vocabulary.texts.is_one_of(item.value.term, other)))
    if unnamed and other:
        terms.append(either(*unnamed))
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


def is_value(symbolic: Symbolic, value: Value | None, meant: object) -> Bool:
    """A plain value of the context is this one, in its JSON form; True for what cannot be compared."""
    match value, meant:
        case Truth(term), bool():
            return term if meant else negate(term)
        case Words(term), str():
            return symbolic.vocabulary.texts.same(term, meant)
        case Number(term, "decimal"), str() | int() | Decimal():
            return equal(term, decimal_units(Decimal(meant)))
        case Number(term, "Long"), int():
            return equal(term, meant)
        case _:
            return True


def _leaves(symbolic: Symbolic) -> Iterator[Leaf]:
    spec = symbolic.place.tool.spec
    reads = symbolic.place.slice("any")[0].reads
    named = [place_of(symbolic, name) for name in _names(spec)]
    named += [("args", name) for name in spec.arguments.model_fields if _is_label_read(reads, name)]
    forms: dict[Path, Form] = {("args",): Form.of(spec.arguments)}
    for fact in spec.facts:
        tool = symbolic.place.tool_of(fact.tool)
        if tool is not None:
            forms["facts", fact.name] = Form.of(tool.result)
    for root, form in forms.items():
        parts = at(symbolic.context, root)
        if not isinstance(parts, Parts):
            continue
        for path, is_there, value in leaves(parts):
            here = (*root, *path)
            if _is_read(reads, here) or any(here == each[: len(here)] for each in named):
                yield Leaf(here, present(symbolic.context, here), value, form.at(path), is_there is not True)


def _names(spec: ToolSpec) -> Iterator[str]:
    """Every argument and fact that a declaration names."""
    for fact in spec.facts:
        for template in fact.arguments.values():
            yield from holes(template)
    for total in spec.totals:
        yield from (*holes(total.by), total.of)
    yield from holes(spec.business_key or "")
    if isinstance(spec.cardinality, UpTo):
        yield from (spec.cardinality.amount, spec.cardinality.total)
    if spec.impact is not None and spec.impact.money:
        yield spec.impact.money


def _is_read(reads: Reads, path: Path) -> bool:
    for name in path:
        if reads.is_whole:
            return True
        inner = reads.inside.get(name)
        if inner is None:
            return False
        reads = inner
    return True


def _is_label_read(reads: Reads, name: str) -> bool:
    """Whether a rule asks where an argument comes from."""
    labels = reads.inside.get("labels")
    return reads.is_whole or (labels is not None and (labels.is_whole or name in labels.inside))


def _known(run: Underway) -> Iterator[str]:
    """Texts that the run has: of its user, its session, and what can be trusted."""
    yield run.start.on_behalf_of
    for established in run.session.values():
        yield from plain_texts(canonical(established.value))
    for source in run.origins.sources:
        if source.name == "prompt":
            continue
        for kind, text in source.values[:KNOWN_MAX]:
            yield from (text,) if kind else text.split()[:KNOWN_MAX]


def _is_known(given: Mapping[str, Any], texts: Collection[str]) -> bool:
    return all(text in texts for text in plain_texts(given))


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
                for item in items:
                    if (
                        not is_opaque
                        and isinstance(item.value, Words)
                        and not isinstance(item.value.term, str)
                    ):
                        yield implies(item.guard, same_text.is_one_of(item.value.term, texts))
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
        yield _is_whole(symbolic, symbolic.at("session", name, "value"), canonical(established.value))


def _is_whole(symbolic: Symbolic, value: Value, meant: object) -> Bool:
    """A value is this one, part by part."""
    match value:
        case Parts(fields):
            inside = cast("dict[str, Any]", meant) if isinstance(meant, dict) else {}
            return both(
                *(
                    both(part.present, _is_whole(symbolic, part.value, inside[name]))
                    if inside.get(name) is not None
                    else negate(part.present)
                    for name, part in fields.items()
                )
            )
        case Many(items, is_opaque) if isinstance(meant, list):
            listed = cast("list[object]", meant)
            if is_opaque:
                return (
                    either(*(item.guard for item in items))
                    if listed
                    else both(*(negate(i.guard) for i in items))
                )
            texts = [each for each in listed if isinstance(each, str)]
            if items and all(isinstance(item.value, Words) for item in items):
                return exactly(symbolic, value, texts)
            return True
        case _:
            return is_value(symbolic, value, meant)


def _labels(outlook: Outlook, run: Underway, texts: list[str]) -> Iterator[Bool]:
    """The label of each argument, for every value that it may have: the real one."""
    symbolic, takes = outlook.symbolic, outlook.spec.takes
    reads = symbolic.place.slice("any")[0].reads
    form = Form.of(outlook.spec.arguments)
    for name in outlook.spec.arguments.model_fields:
        if not _is_label_read(reads, name):
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
        else:
            label = provenance.label_all(takes, {name: "?"}, run.origins, {})[name]
            yield implies(there, _is_label(symbolic, name, label))


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
            if answer.tool == fact.tool and _is_known(answer.given, offered):
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
        leaf.present, True if isinstance(leaf.value, Parts) else _is_whole(symbolic, leaf.value, value)
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
