"""One tool as a search sees it: the places that rules and declarations look at, and the texts that can stand there.

The texts are real ones: those that rules mention, those that the run already knows, and new ones that are valid where they
stand. So whatever is found can be written down as a call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cedarpy import pst

from answerable.gates.policy.tree import chain, walk
from answerable.gates.schema import canonical
from answerable.kernel.tool import UpTo, holes
from answerable.prove.assumptions import at, present
from answerable.prove.blast_peaks import Question, place_of
from answerable.prove.blast_values import Form, Maker, Path
from answerable.prove.blast_world import plain_texts
from answerable.prove.symbols import leaves
from answerable.prove.values import Parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from answerable.gates.policy.tree import Reads
    from answerable.kernel.tool import ToolSpec
    from answerable.prove.blast_world import Underway, World
    from answerable.prove.logic import Bool
    from answerable.prove.symbolic import Symbolic
    from answerable.prove.values import Value

FRESH = 2
"""So many new texts are offered at each place: two of them may have to differ."""
TRUSTED_MAX = 4
"""So many trusted values that were used, and that were not, are offered at each place."""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A place in the context that a rule or a declaration looks at. `form` is None where its type is not followed."""

    path: Path
    present: Bool
    value: Value
    form: Form | None
    is_optional: bool

    @property
    def items(self) -> Form | None:
        """The form of what is chosen there: of an item, where it is a list."""
        return self.form.at(("[]",)) if self.form is not None and self.form.is_list else self.form


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
    def reads(self) -> Reads:
        """What the rules here look at."""
        return self.symbolic.place.slice("any")[0].reads

    @property
    def reads_time(self) -> bool:
        """Whether a rule asks what time it is."""
        return is_read(self.reads, "now")

    @property
    def spec(self) -> ToolSpec:
        """The tool."""
        return self.question.spec

    def _new(self, world: World, path: Path, form: Form) -> list[str]:
        """New texts for a place: those that were offered before and not taken, and as many more as are needed."""
        offered = [text for text in self.spare.get(path, ()) if text not in world.seen]
        made = (self.maker.text(form, path[-1]) for _ in range(FRESH - len(offered)))
        self.spare[path] = [*offered, *(text for text in made if text is not None)]
        return self.spare[path]

    def texts(self, world: World, run: Underway) -> list[str]:
        """Every text that may be chosen: mentioned, known to the run, or new."""
        found = dict.fromkeys(self.symbolic.vocabulary.strings)
        found.update(dict.fromkeys(_known(run)))
        for step in run.steps[-1:]:
            found.update(dict.fromkeys(self._made(step.arguments)))
        trusted = list(_trusted(run))
        for leaf in self.leaves:
            form = leaf.items
            if form is not None and form.is_text:
                found.update(dict.fromkeys(form.closed or self._new(world, leaf.path, form)))
                if leaf.path[0] == "args":
                    fit = [text for text in trusted if form.takes(text)]
                    found.update(
                        dict.fromkeys([text for text in fit if text not in world.seen][:TRUSTED_MAX])
                    )
                    found.update(dict.fromkeys([text for text in fit if text in world.seen][-TRUSTED_MAX:]))
        for pattern in self.patterns:
            for _ in range(FRESH):
                found.setdefault(self.maker.like(pattern))
        for answer in world.answers.values():
            if {fact.tool for fact in self.spec.facts} & {answer.tool} and is_known(answer.given, found):
                found.update(dict.fromkeys(self._made(answer.value)))
        return list(found)

    def _made(self, value: object) -> list[str]:
        """The texts in a value that were made up, and so can stand for something."""
        return [text for text in plain_texts(value) if text in self.maker.made]


def is_read(reads: Reads, *path: str) -> bool:
    """Whether a rule looks at a place: what none looks at can be anything."""
    for name in path:
        if reads.is_whole:
            return True
        inner = reads.inside.get(name)
        if inner is None:
            return False
        reads = inner
    return True


def _leaves(symbolic: Symbolic) -> Iterator[Leaf]:
    spec = symbolic.place.tool.spec
    reads = symbolic.place.slice("any")[0].reads
    named = [place_of(symbolic, name) for name in _names(spec)]
    named += [("args", name) for name in spec.arguments.model_fields if is_label_read(reads, name)]
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
            if is_read(reads, *here) or any(here == each[: len(here)] for each in named):
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


def is_label_read(reads: Reads, name: str) -> bool:
    """Whether a rule asks where an argument comes from."""
    labels = reads.inside.get("labels")
    return reads.is_whole or (labels is not None and (labels.is_whole or name in labels.inside))


def _known(run: Underway) -> Iterator[str]:
    """Texts that the run has: of its user, and of its session."""
    yield run.start.on_behalf_of
    for established in run.session.values():
        yield from plain_texts(canonical(established.value))


def _trusted(run: Underway) -> Iterator[str]:
    """Values in what the run has read that can be trusted; in a text, its words."""
    for source in run.origins.sources:
        for kind, text in source.values if source.name != "prompt" else ():
            yield from (text,) if kind else text.split()


def is_known(given: Mapping[str, Any], texts: Collection[str]) -> bool:
    """Whether every text in it is among these."""
    return all(text in texts for text in plain_texts(given))
