"""Whether a tool keeps the promise of its write mode: each way in which a send can go wrong is tried.

The promise is worth what the tool and the system behind it make of it, so both are under test here. Every run passes
the real gates, on a journal of its own that is thrown away; time is virtual.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from answerable.errors import ConfigError
from answerable.gates import schema
from answerable.kernel.decision import ReasonCode
from answerable.kernel.tool import PROBEABLE, RESENDABLE, ToolSpec, WriteMode
from answerable.testing.tool_contract_secrets import SECRET_BYTES_MIN
from answerable.testing.tool_contract_stage import IN_THE_SYSTEM, IN_THE_WIRE, Case, Seen, Stage, Trouble

if TYPE_CHECKING:
    from answerable.kernel.secret import Secret
    from answerable.testing.tool_contract_stage import Count, Fresh, Lose, UndoArguments
    from answerable.tools.registered import Tool

_ADVICE = {
    WriteMode.NATIVE_KEY: "hand `key` to the system as its idempotency key, unchanged; if the system ignores it,"
    " the mode is `probe_then_write` or `at_most_once`",
    WriteMode.UPSERT: "set a state instead of adding to one; if it can only add, the mode is another",
    WriteMode.CONDITIONAL: "hand the version that was decided on to the system, which refuses any other; if it"
    " cannot, the mode is another",
    WriteMode.PROBE_THEN_WRITE: "let the probe search by the key, and answer None only where the work certainly"
    " was not done",
    WriteMode.DRAFT_THEN_COMMIT: "let the draft change nothing that counts, and the probe find a commit by the key",
    WriteMode.AT_MOST_ONCE: "raise `NotDone` only where it certainly did not happen",
}


class ToolContractBroken(AssertionError):
    """The tool does not keep what it promises: which promise, what was counted, and what to do."""


async def assert_tool_contract(
    tool: Tool,
    *,
    arguments: Mapping[str, Any],
    fresh: Fresh,
    count: Count,
    secrets: Mapping[str, Secret] | None = None,
    undo_arguments: UndoArguments | None = None,
    lose: Lose | None = None,
) -> None:
    """Check that a tool keeps the promise of its write mode, and its undo that of its own.

    `fresh` makes the system under test anew and returns the tool's resources by name; `count` says what is in force in
    it: a number, or anything that compares. `undo_arguments` makes the undo's arguments from the tool's result; without
    it they are taken by name from the arguments and the result. A lost request is a `TimeoutError` in the place of the
    send, a lost reply one after it; where `lose(resources, fault)` lets the system under test lose what is sent next, what
    the tool makes of that is under test too. Raises `ToolContractBroken` with the first promise that is not kept.
    """
    _check_secrets(secrets or {})
    case = Case(
        tool=tool,
        arguments=arguments,
        fresh=fresh,
        count=count,
        secrets=secrets or {},
        undo_arguments=undo_arguments or (lambda result: _by_name(tool, arguments, result)),
        lose=lose,
    )
    before = await _counted_when_fresh(case)
    if tool.spec.is_write and tool.spec.mode is None:
        _broken(tool, "it is a write and has no write mode", "say its mode: there is no default")
    after = await _check_it_works(case, before)
    _check_arguments_are_strict(tool, arguments)
    if not tool.spec.is_write:
        return
    await _check_write(Side(case=case, tool=tool, before=before, after=after))
    if tool.undo is not None:
        side = Side(case=case, tool=tool.undo, before=after, after=before, is_undoing=True)
        await _check_it_unwinds(side)
        await _check_write(side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two writes of a contract: the tool itself, or its undo, and what is counted without and with it."""

    case: Case
    tool: Tool
    before: Any
    after: Any
    is_undoing: bool = False

    @property
    def spec(self) -> ToolSpec:
        """The write as a value."""
        return self.tool.spec

    async def play(self, trouble: Trouble | None) -> Seen:
        """One run on a fresh system, in which this write has that trouble."""
        stage = Stage(case=self.case, trouble=trouble, is_undoing=self.is_undoing)
        return _without_leak(self.tool, await stage.play())

    def broken(self, trouble: Trouble, what: str, seen: Seen, advice: str = "") -> NoReturn:
        """Say what does not hold after a trouble. Raises `ToolContractBroken`."""
        assert self.spec.mode is not None
        counted = (
            f"counted {seen.counted!r} after {len(seen.sends)} sends, where {self.before!r} is nothing done"
            f" and {self.after!r} is done once"
        )
        _broken(self.tool, f"{trouble}, and {what}: {counted}", advice or _ADVICE[self.spec.mode])


async def _check_write(side: Side) -> None:
    if side.spec.mode is WriteMode.DRAFT_THEN_COMMIT:
        await _check_draft_is_harmless(side)
    if side.spec.mode is WriteMode.CONDITIONAL:
        await _check_version_is_honoured(side)
    for trouble in IN_THE_WIRE if side.case.lose is None else (*IN_THE_WIRE, *IN_THE_SYSTEM):
        _check_twice_is_once(side, trouble, await side.play(trouble))
    if side.spec.mode in PROBEABLE and not _is_named_by_business_key(side.spec) and not side.is_undoing:
        await _check_probe_tells_apart(side)


async def _counted_when_fresh(case: Case) -> Any:
    first, second = [await case.counted(await case.begin()) for _ in range(2)]
    if first != second:
        _broken(
            case.tool,
            f"cannot be judged: two fresh systems were counted as {first!r} and {second!r}",
            "let `fresh` make a new system each time, and `count` leave out ids and times",
        )
    return first


async def _check_it_works(case: Case, before: Any) -> Any:
    """What is counted after one run in which nothing goes wrong."""
    tool = case.tool
    seen = _without_leak(tool, await Stage(case=case).play())
    if seen.state != "done":
        _broken(tool, f"it does not work: {seen.outcome.reason or 'it was not called'}", "see to that first")
    _check_result(tool, seen, "its result")
    if tool.spec.is_write and seen.counted == before:
        _broken(
            tool,
            f"it said that it was done, and nothing changed: counted {before!r} before and after",
            "give arguments that change something, and let `count` see it",
        )
    if not tool.spec.is_write and seen.counted != before:
        _broken(
            tool,
            f"it is registered as a read and changed something: counted {before!r}, then {seen.counted!r}",
            "it is a write: say its mode",
        )
    return seen.counted


def _check_arguments_are_strict(tool: Tool, arguments: Mapping[str, Any]) -> None:
    spoilt = {name: {**arguments, name: _spoil(value)} for name, value in arguments.items()}
    for name, given in {**spoilt, "not_declared": {**arguments, "not_declared": "x"}}.items():
        try:
            schema.accept(tool.spec, given)
        except schema.Refused:
            continue
        except Exception:  # noqa: BLE001, S110 - whatever else it came to, it was not refused
            pass
        _broken(
            tool,
            f"its arguments are not strict: {given[name]!r} is not refused as `{name}`",
            "make it with `@tool`, whose arguments are strict, closed and frozen",
        )


def _spoil(value: object) -> object:
    """Something that only a lax type takes in the place of `value`."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list() | tuple() | set() | frozenset():
            return {"0": "x"}
        case _:
            return ["x"]


async def _check_it_unwinds(side: Side) -> None:
    seen = await side.play(None)
    if seen.state != "done":
        _broken(
            side.tool,
            f"it does not take back what `{side.case.tool.name}` did: {seen.outcome.reason}",
            "see to that first, and to `undo_arguments`",
        )
    _check_result(side.tool, seen, "its result")
    if seen.counted != side.after:
        _broken(
            side.tool,
            f"it took back what `{side.case.tool.name}` did, and {seen.counted!r} is counted where it was"
            f" {side.after!r} at first",
            "let the undo leave what was there before, or let `count` count only what is in force",
        )


async def _check_draft_is_harmless(side: Side) -> None:
    seen = await side.play(Trouble.REFUSED)
    if seen.counted != side.before:
        _broken(
            side.tool,
            f"its draft alone changed something: the commit was never sent, and {seen.counted!r} is counted,"
            f" not {side.before!r}",
            "let the draft change nothing that counts, and the function alone commit it",
        )


async def _check_version_is_honoured(side: Side) -> None:
    seen = await side.play(Trouble.RIVAL)
    if seen.state == "done" or seen.counted != side.after:
        side.broken(Trouble.RIVAL, "the write over that version was taken all the same", seen)


async def _check_probe_tells_apart(side: Side) -> None:
    """Somebody else's work with the same arguments is not ours."""
    resources = await side.case.begin()
    await Stage(case=side.case, by="somebody else").play(resources)
    seen = await Stage(case=side.case, trouble=Trouble.LOST_REQUEST).play(resources)
    if seen.state == "done" and len(seen.sends) == 1:
        _broken(
            side.tool,
            "its request was lost, and its probe took for it what somebody else had done with the same arguments",
            "let the probe search by the key, or declare the `business_key` that makes them one",
        )


def _is_named_by_business_key(spec: ToolSpec) -> bool:
    """Whether two calls with the same arguments are one effect by declaration: then no claim lets a second be made."""
    return spec.business_key is not None and isinstance(spec.cardinality, str)


def _check_twice_is_once(side: Side, trouble: Trouble, seen: Seen) -> None:
    """After a trouble that may or may not have let the work be done, it is done once, or said to be unknown."""
    if seen.counted not in (side.before, side.after):
        side.broken(trouble, "the work was done more than once", seen)
    is_done = seen.counted == side.after
    if seen.state == "done" and not is_done:
        side.broken(trouble, "it is said to be done, but it is not", seen)
    if seen.state == "failed" and is_done:
        side.broken(trouble, "it is said to have failed, but it was done", seen)
    if side.spec.mode is WriteMode.AT_MOST_ONCE:
        _check_said_unknown(side, trouble, seen)
        return
    _check_same_key(side, trouble, seen)
    if seen.state not in _endings(side.spec, trouble):
        side.broken(trouble, f"it ended as {seen.state or 'nothing'}: {seen.outcome.reason}", seen)
    if seen.state == "done":
        _check_result(side.tool, seen, f"{trouble}, and what it answered then")
    if side.spec.mode in PROBEABLE and trouble.did_work:
        _check_found(side, trouble, seen)


def _check_said_unknown(side: Side, trouble: Trouble, seen: Seen) -> None:
    if len(seen.sends) > 1:
        side.broken(trouble, "it was sent again", seen)
    if seen.state == "unknown" and seen.outcome.code == ReasonCode.EFFECT_UNKNOWN:
        return
    what = f"it ended as {seen.state or 'nothing'}, where only a person can know"
    advice = "do not try again inside the tool; and see to it that `lose` loses what the tool sends next"
    side.broken(trouble, what, seen, advice if seen.state == "done" else "")


def _check_same_key(side: Side, trouble: Trouble, seen: Seen) -> None:
    keys = {send.key for send in seen.sends}
    if len(keys) > 1:
        side.broken(trouble, f"it was sent with {len(keys)} keys", seen, "this is an error of Answerable")


def _check_found(side: Side, trouble: Trouble, seen: Seen) -> None:
    """What was done is found, and not sent a second time in the hope that the system knows it again."""
    if len(seen.sends) > 1:
        side.broken(trouble, "its probe did not find what was done", seen)
    if not seen.sends[0].has_answered:
        return  # the system lost its own reply: nobody knows what it would have been
    answers = (seen.value, seen.sends[0].value)
    found, sent = (side.spec.result.dump_python(answer, mode="json") for answer in answers)
    if found != sent:
        side.broken(
            trouble,
            f"its probe answered {found!r} for what the send had answered with {sent!r}",
            seen,
            "let the probe answer with the result of the work that has the key",
        )


def _endings(spec: ToolSpec, trouble: Trouble) -> set[str]:
    """How a write may have ended after a trouble, in a mode that can be sent again or asked for."""
    can_end = {"done"}
    is_tried_once = spec.retry.attempts == 1
    if spec.mode in RESENDABLE:
        if is_tried_once and trouble not in (Trouble.DIED_BEFORE, Trouble.DIED_AFTER):
            can_end.add("unknown")
        if spec.mode is WriteMode.CONDITIONAL and trouble.did_work:
            can_end.add("unknown")  # the refusal may be because of the write whose reply was lost
    elif is_tried_once and not trouble.did_work:
        can_end.add("failed")
    return can_end


def _check_result(tool: Tool, seen: Seen, what: str) -> None:
    if seen.ended is not None and seen.ended.failure is not None:
        _broken(
            tool,
            f"{what} does not fit its declared type",
            "what is done with such a result cannot be read: return what the annotation says, probe included",
        )


def _without_leak(tool: Tool, seen: Seen) -> Seen:
    if seen.leak:
        _broken(
            tool,
            f"it gives its credential away: the secret {seen.leak} of the journal",
            "reveal a secret while sending and nowhere else: not in a result, and not in an error",
        )
    return seen


def _check_secrets(secrets: Mapping[str, Secret]) -> None:
    for name, secret in secrets.items():
        if len(secret.reveal().encode()) < SECRET_BYTES_MIN:
            raise ConfigError(
                f"the secret `{name}` is too short to be looked for in the journal",
                hint=f"test with one of {SECRET_BYTES_MIN} characters or more that stands nowhere else",
            )


def _by_name(tool: Tool, arguments: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """The undo's arguments, each from the tool's argument or from the field of its result that has the same name."""
    assert tool.undo is not None
    found: dict[str, Any] = {}
    for name, info in tool.undo.spec.arguments.model_fields.items():
        if name in arguments:
            found[name] = arguments[name]
        elif hasattr(result, name):
            found[name] = getattr(result, name)
        elif info.is_required():
            raise ConfigError(
                f"what to undo cannot be told: `{tool.undo.name}` needs `{name}`",
                hint="give `undo_arguments`: a function of the result",
            )
    return found


def _broken(tool: Tool, what: str, advice: str) -> NoReturn:
    kind = tool.spec.mode.value if tool.spec.mode is not None else tool.spec.effect_class.value
    raise ToolContractBroken(f"`{tool.name}` ({kind}) breaks its contract: {what}.\n  hint: {advice}")
