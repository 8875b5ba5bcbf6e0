"""A small command language in which the engine's stories are told, and the stage on which they are played.

A scenario file holds commands; below each, after `----`, stands everything that it made the journal say. A command
ends at an empty line. Proposals of `run` stand indented below it; `try` before one means that the run goes on
whatever comes of it.

    vendor FAULT...        what happens to the next requests: lost-reply, lost-request, busy, refused, ok
    policy NAME            from the next process on: free, asks, asks-two, forbids
    run ID                 accept a task and drive it
    crash before|after KIND   the process dies around the next entry with an event of this kind
    recover                a new process drives everything that is open
    approve|deny WHO       answer what waits
    report done|failed     say what became of what is unknown
    halt|lift SCOPE        stop something, or let it go on
    pass DURATION          time goes by, as in 25h
    look                   what the vendor did
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.engine.workshop import PERMIT, Vendor, asks, key_of, make_agent, runtime_of, state_of

from answerable import AnswerableError, Arguments, EffectKey, EffectUnknown, Retry, Run, ToolFailed, tool
from answerable.engine.agent import seconds
from answerable.errors import JournalError
from answerable.journal.verify import verify_database
from answerable.kernel import events
from answerable.testing import FakeClock, Fault, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THREE = Retry(attempts=3, backoff_s=0.1)
FORBIDS = (
    PERMIT
    + '@id("no-refunds")\n@text("None.")\nforbid (principal, action == Action::"create_refund", resource);'
)
POLICIES = {
    "free": PERMIT,
    "asks": asks("create_refund"),
    "asks-two": asks("create_refund", count=2),
    "forbids": FORBIDS,
}


class Script(Arguments):
    """A task that says what will be proposed."""

    id: str
    lines: list[str]


@tool(effect="read")
async def get_order(order: str, *, vendor: Vendor) -> str:
    """Look up an order."""
    return f"{order} was delivered"


@tool(mode="native_key", business_key="refund:{order}", retry=THREE)
async def create_refund(order: str, amount: int, reason: str = "", *, key: EffectKey, vendor: Vendor) -> str:
    """Refund an order; the vendor honours keys."""
    return vendor.do(key)


async def _found(arguments: Arguments, *, key: EffectKey, vendor: Vendor) -> str | None:
    return vendor.find(key)


@tool(mode="probe_then_write", probe=_found, retry=THREE)
async def post_refund(order: str, amount: int, *, key: EffectKey, vendor: Vendor) -> str:
    """Refund an order at a vendor that must be asked."""
    return vendor.do(key)


@tool(mode="at_most_once", retry=THREE)
async def send_letter(to: str, *, key: EffectKey, vendor: Vendor) -> str:
    """Send a letter."""
    return vendor.do(key)


async def play(run: Run, task: Script) -> None:
    """Propose what the script says."""
    for line in task.lines:
        words = line.split()
        is_tried = words[0] == "try"
        name, *pairs = words[1:] if is_tried else words
        arguments: dict[str, Any] = dict(pair.split("=", 1) for pair in pairs)
        if "amount" in arguments:
            arguments["amount"] = int(arguments["amount"])
        with suppress(*((ToolFailed, EffectUnknown) if is_tried else ())):
            await run.call(name, **arguments)


@dataclass
class Block:
    """One command of a file, and what is expected of it."""

    command: list[str]
    expected: list[str] = field(default_factory=list)


def read(text: str) -> list[Block]:
    """The blocks of a file. Comments stand alone, beginning with `#`."""
    blocks: list[Block] = []
    for part in text.strip().split("\n\n"):
        lines = part.splitlines()
        if all(line.startswith("#") for line in lines):
            blocks.append(Block(command=lines))
            continue
        cut = lines.index("----") if "----" in lines else len(lines)
        blocks.append(Block(command=lines[:cut], expected=lines[cut + 1 :]))
    return blocks


def write(blocks: list[Block]) -> str:
    """The file of these blocks."""
    parts = [
        "\n".join(
            block.command if block.command[0].startswith("#") else [*block.command, "----", *block.expected]
        )
        for block in blocks
    ]
    return "\n\n".join(parts) + "\n"


class Stage:
    """Plays the commands of one file on one journal, each process a runtime of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._vendor = Vendor()
        self._clock = FakeClock()
        self._policy = "free"
        self._processes = 0
        self._seen: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._crash: tuple[str, str] | None = None

    async def do(self, command: list[str]) -> list[str]:
        """Play one command; what the journal says since."""
        verb, *words = command[0].split()
        said: list[str] = []
        match verb:
            case "vendor":
                self._vendor.faults += [word.replace("-", " ") for word in words]
                return ["ok"]
            case "policy":
                self._policy = words[0]
                return ["ok"]
            case "crash":
                self._crash = (words[0], words[1])
                return ["ok"]
            case "pass":
                self._clock.advance(seconds(words[0]))
                return ["ok"]
            case "look":
                happened = {key: self._vendor.done.count(key) for key in dict.fromkeys(self._vendor.asked)}
                return [
                    f"asked {len(self._vendor.asked)} times for {len(happened)} effects, did {sum(happened.values())}"
                ]
            case _:
                pass
        self._processes += 1
        agent = make_agent(
            [get_order, create_refund, post_refund, send_letter],
            play,
            policy=POLICIES[self._policy],
            task=Script,
        )
        try:
            async with runtime_of(
                self._folder,
                agent,
                vendor=self._vendor,
                clock=self._clock,
                seed=self._processes,
                wrap_store=self._fragile(),
            ) as runtime:
                try:
                    await self._act(runtime, agent, verb, words, [line.strip() for line in command[1:]])
                except JournalError as died:
                    said.append(f"the process died: {died.args[0]}")
                except AnswerableError as refused:
                    said.append(f"refused: {refused.args[0]}")
                said = [*await self._news(runtime), *said]
        finally:
            self._crash = None
        report = verify_database(self._folder / "journal.db")
        if not report.is_ok:
            said += report.to_text().splitlines()
        return said or ["nothing"]

    async def _act(self, runtime: Any, agent: Any, verb: str, words: list[str], lines: list[str]) -> None:
        match verb:
            case "run":
                (run,) = await runtime.submit(agent, [Script(id=words[0], lines=lines)])
                self._names[run] = words[0]
                await runtime.drive(run)
            case "recover":
                await runtime.drive_all(concurrency=1)
            case "approve" | "deny":
                (row,) = await runtime.store.runs(states=("waiting",))
                verdict = "grant" if verb == "approve" else "deny"
                await runtime.answer(row.run, verdict, approver=words[0], private_key=key_of(words[0]))
                await runtime.drive(row.run)
            case "report":
                (run,) = await runtime.store.open_effects()
                (effect,) = (await state_of(runtime, run)).unknown
                await runtime.report(run, effect, words[0], by="lea")
            case "halt":
                await runtime.halt(self._scope(words[0]), by="ops", reason="a scenario")
            case "lift":
                await runtime.lift(self._scope(words[0]), by="ops", reason="a scenario")
            case _:
                raise ValueError(verb)

    def _scope(self, word: str) -> str:
        runs = {f"run:{name}": f"run:{run}" for run, name in self._names.items()}
        return runs.get(word, word)

    def _fragile(self) -> Callable[[Any], Any]:
        state = {"dead": False}

        def fault(appends: Any) -> Fault | None:
            kinds = {type(event).__name__ for append in appends for event in append.events}
            if state["dead"]:
                return Fault.LOST_REQUEST
            if self._crash is not None and self._crash[1] in kinds:
                state["dead"] = True
                return Fault.LOST_REQUEST if self._crash[0] == "before" else Fault.LOST_REPLY
            return None

        return lambda store: FaultyStore(store, fault=fault)

    async def _news(self, runtime: Any) -> list[str]:
        lines: list[str] = []
        inside = runtime.store.inside
        for stream in sorted(await inside.streams(), key=self._order):
            if stream.startswith("agent/"):
                continue
            for entry in await inside.entries(stream, after=self._seen.get(stream, 0)):
                self._seen[stream] = entry.seq
                told = [said for event in entry.events if (said := tell(event))]
                lines += [f"{self._name(stream)} {entry.seq} {said}" for said in told]
        return lines

    def _order(self, stream: str) -> tuple[int, str]:
        kind, _, name = stream.partition("/")
        return ["tenant", "inbox", "run", "agent"].index(kind), self._names.get(name, name)

    def _name(self, stream: str) -> str:
        kind, _, name = stream.partition("/")
        known = self._names.get(name, name)
        return known if kind == "run" else f"{kind}/{known}"


def tell(event: Any) -> str:
    """One event in one line: what a reader of a story wants to know."""
    name = type(event).__name__
    match event:
        case events.JournalCreated() | events.InboxFolded():
            return ""
        case events.CallDecided():
            why = f" by {','.join(event.rules)}" if event.verdict != "allow" else ""
            discharged = f" discharged {','.join(event.discharged)}" if event.discharged else ""
            return f"{name} {event.path} {event.tool} {event.verdict}{why}{discharged}"
        case events.CallIntended():
            return f"{name} {event.path} {event.tool} attempt {event.attempt}"
        case events.CallEnded():
            failure = f" {event.failure}" if event.failure else ""
            return f"{name} {event.path} {event.tool} attempt {event.attempt} {event.state} via {event.via}{failure}"
        case events.RunAdopted():
            return f"{name} epoch {event.epoch} {event.cause}"
        case events.ApprovalRequested():
            needs = ", ".join(
                f"{count} of {'/'.join(roles)} for {rule}" for rule, roles, count in event.needs
            )
            return f"{name} {event.path} needs {needs}"
        case events.ApprovalSettled():
            return f"{name} {event.path} {event.state}"
        case events.ApprovalGiven():
            return f"{name} {event.verdict} by {event.approver}"
        case events.EffectReported():
            return f"{name} {event.state} by {event.by}"
        case events.RunParked():
            return f"{name} for {event.waiting_for}"
        case events.RunEnded():
            code = f" {event.code}" if event.code else ""
            unknown = f" unknown {len(event.unknown)}" if event.unknown else ""
            return f"{name} {event.outcome}{code}{unknown}"
        case events.HaltRaised() | events.HaltLifted():
            return f"{name} {event.scope.partition(':')[0]} epoch {event.epoch}"
        case _:
            return name
