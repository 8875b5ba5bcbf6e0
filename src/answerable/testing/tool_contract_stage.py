"""Where a tool is put to the test: a real runtime, a journal of its own, and a wire that has its trouble once."""

from __future__ import annotations

import inspect
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from answerable.engine.agent import Agent
from answerable.errors import JournalError, NotDone
from answerable.kernel.state import fold
from answerable.models.scripted import ScriptedModel, say
from answerable.project import open_runtime
from answerable.testing.clock import FakeClock
from answerable.testing.faults import Fault, FaultyStore
from answerable.testing.ports import fake_ports
from answerable.testing.tool_contract_secrets import leaked
from answerable.tools.declare import Arguments

if TYPE_CHECKING:
    from answerable.engine.outcome import Outcome
    from answerable.engine.run import Run
    from answerable.engine.runtime import Runtime
    from answerable.kernel.events import CallEnded
    from answerable.kernel.ids import RunId
    from answerable.kernel.secret import Secret
    from answerable.kernel.state import RunState
    from answerable.tools.registered import Function, Tool

Resources = Mapping[str, Any]
"""What tools get injected, by name: clients of the system under test, or the system itself."""
Fresh = Callable[[], Resources | Awaitable[Resources]]
Count = Callable[[Resources], Any]
Lose = Callable[[Resources, Fault], object]
UndoArguments = Callable[[Any], Mapping[str, Any]]
UNDO_AFTER_S = 60.0
"""Nobody takes back what was done in the same moment; facts are read anew."""

_POLICY = """
@id("may-do-what-is-tested")
@text("The contract is about what a tool does, not about who may use it.")
permit (principal == Agent::"contract", action, resource);
"""


class Trouble(StrEnum):
    """What befalls the first send of the tool under test, in words that complete a sentence."""

    LOST_REQUEST = "its first request was lost"
    LOST_REPLY = "its first reply was lost after the work was done"
    SYSTEM_LOST_REQUEST = "the system lost its first request"
    SYSTEM_LOST_REPLY = "the system lost its first reply after the work was done"
    DIED_BEFORE = "the process died between the intent and the send"
    DIED_AFTER = "the process died after the work was done and before the outcome was written"
    REFUSED = "it was refused"
    RIVAL = "somebody else had written over the same version first"

    @property
    def did_work(self) -> bool:
        """Whether the work was done all the same, and nobody was told."""
        return self in (Trouble.LOST_REPLY, Trouble.SYSTEM_LOST_REPLY, Trouble.DIED_AFTER)


IN_THE_WIRE = (Trouble.LOST_REQUEST, Trouble.LOST_REPLY, Trouble.DIED_BEFORE, Trouble.DIED_AFTER)
"""After these nobody knows whether the work was done. They come in pairs, and each pair looks alike."""
IN_THE_SYSTEM = (Trouble.SYSTEM_LOST_REQUEST, Trouble.SYSTEM_LOST_REPLY)
"""The same, where the system under test can bring it about: the tool hears of it before the runtime does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is put to the test, as whoever tests it gave it."""

    tool: Tool
    arguments: Mapping[str, Any]
    fresh: Fresh
    count: Count
    secrets: Mapping[str, Secret]
    undo_arguments: UndoArguments
    lose: Lose | None

    async def begin(self) -> Resources:
        """The system under test as nobody has used it yet."""
        return await _waited(self.fresh())

    async def counted(self, resources: Resources) -> Any:
        """What is in force in the system under test."""
        return await _waited(self.count(resources))


@dataclass(frozen=True, slots=True)
class Send:
    """One call of the tool's function: the key that it was given, and what it answered, heard or not."""

    key: str | None
    has_answered: bool = False
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of one run: how the write under test ended, how often it was sent, and what is in force now."""

    outcome: Outcome
    ended: CallEnded | None
    sends: list[Send]
    counted: Any
    value: Any
    """What the run's code got from it; None where it got nothing."""
    leak: str
    """Which secret stands in the journal, and where; empty if none does."""

    @property
    def state(self) -> str:
        """`done`, `failed`, `unknown`, or empty where it did not come to an end."""
        return self.ended.state if self.ended is not None else ""


class Wire:
    """What stands between the runtime and a tool's function: it sends on, and has its trouble once."""

    def __init__(self, trouble: Trouble | None, resources: Resources, lose: Lose | None) -> None:
        self.sends: list[Send] = []
        self.is_dead = False
        """Whether the process is dead: nothing that it does reaches the journal any more."""
        self._trouble = trouble
        self._resources = resources
        self._lose = lose

    def around(self, tool: Tool) -> Tool:
        """The same tool, whose sends go over this wire."""
        keyed = next((name for name, injection in tool.injected if injection == "key"), None)
        wrap = self._waiting if inspect.iscoroutinefunction(tool.function) else self._in_thread
        return replace(tool, function=wrap(tool.function, keyed))

    def _waiting(self, function: Function, keyed: str | None) -> Function:
        async def send(**given: Any) -> Any:
            trouble = self._begin(given.get(keyed or ""))
            if trouble is Trouble.RIVAL:
                await function(**_as_rival(given, keyed))
            return self._end(trouble, await function(**given))

        return send

    def _in_thread(self, function: Function, keyed: str | None) -> Function:
        async def end_later(trouble: Trouble | None, values: list[Any]) -> Any:
            for value in values[:-1]:
                await value
            return self._end(trouble, await values[-1])

        def send(**given: Any) -> Any:
            trouble = self._begin(given.get(keyed or ""))
            rival = [function(**_as_rival(given, keyed))] if trouble is Trouble.RIVAL else []
            value = function(**given)
            if inspect.isawaitable(value):  # written with `def`, and waits all the same
                return end_later(trouble, [*rival, value])
            return self._end(trouble, value)

        return send

    def _begin(self, key: str | None) -> Trouble | None:
        """Note a send. Raises where its trouble is that it never arrives; says which trouble is still to come."""
        self.sends.append(Send(key=key))
        trouble, self._trouble = self._trouble, None
        match trouble:
            case Trouble.SYSTEM_LOST_REQUEST | Trouble.SYSTEM_LOST_REPLY:
                assert self._lose is not None
                self._lose(self._resources, Fault.LOST_REPLY if trouble.did_work else Fault.LOST_REQUEST)
                return trouble
            case Trouble.LOST_REQUEST:
                raise TimeoutError
            case Trouble.DIED_BEFORE:
                self.is_dead = True
                raise TimeoutError
            case Trouble.REFUSED:
                raise NotDone("refused, says the contract", failure="permission")
            case _:
                return trouble

    def _end(self, trouble: Trouble | None, value: Any) -> Any:
        self.sends[-1] = replace(self.sends[-1], has_answered=True, value=value)
        if trouble is Trouble.LOST_REPLY:
            raise TimeoutError
        self.is_dead = self.is_dead or trouble is Trouble.DIED_AFTER
        return value


def _as_rival(given: dict[str, Any], keyed: str | None) -> dict[str, Any]:
    """The same write by somebody else: over the same version, with another key."""
    return {**given, keyed: f"rival-{given[keyed]}"[:64]} if keyed else given


_NOBODY = {"scripted:nobody": ScriptedModel("nobody", lambda _messages, _tools, _chance: say("not asked"))}


class Errand(Arguments):
    """What the agent of a contract is given."""

    id: str


@dataclass(slots=True, kw_only=True)
class Stage:
    """One run of the tool under test, or of the tool and its undo, from a fresh system to an outcome."""

    case: Case
    trouble: Trouble | None = None
    is_undoing: bool = False
    """Whether the run also takes the effect back; then the undo has the trouble."""
    by: str = "us"
    """Whose run it is. Another name makes other keys."""
    _values: list[Any] = field(default_factory=list[Any])
    _problem: Exception | None = None
    _runtime: Runtime | None = None
    _clock: FakeClock = field(default_factory=FakeClock)

    async def play(self, resources: Resources | None = None) -> Seen:
        """Drive the run to its end, by as many processes as it takes."""
        resources = await self.case.begin() if resources is None else resources
        wire = Wire(self.trouble, resources, self.case.lose)
        agent = self._agent(wire)
        with tempfile.TemporaryDirectory(prefix="answerable-contract-") as folder:
            journal = Path(folder) / "journal.db"
            outcome, state = await self._drive(journal, agent, wire, resources)
            if self._problem is not None:
                raise self._problem
            return Seen(
                outcome=outcome,
                ended=step.ended if (step := state.calls.get(self._path)) is not None else None,
                sends=wire.sends,
                counted=await self.case.counted(resources),
                value=self._values[-1] if self._values else None,
                leak=_leak(journal, self.case.secrets),
            )

    @property
    def _path(self) -> str:
        return "2.0" if self.is_undoing else "1.0"

    def _agent(self, wire: Wire) -> Agent:
        tool, undo = self.case.tool, self.case.tool.undo
        if self.is_undoing:
            assert undo is not None
            tool = replace(tool, undo=wire.around(undo))
        else:
            tool = wire.around(tool)
        return Agent(
            name="contract",
            owner="tests",
            prompt="No model is asked.",
            models=["scripted:nobody"],
            tools=[tool],
            policy={"contract.cedar": _POLICY},
            task=Errand,
            source="{id}",
            autonomy="full",
            program=self._program,
        )

    async def _drive(
        self, journal: Path, agent: Agent, wire: Wire, resources: Resources
    ) -> tuple[Outcome, RunState]:
        for process in range(3):
            wire.is_dead = False
            try:
                async with open_runtime(
                    f"sqlite:///{journal}",
                    agents=[agent],
                    models=_NOBODY,
                    resources=resources,
                    secrets=self.case.secrets,
                    ports=fake_ports(process, clock=self._clock),
                    durability="relaxed",  # what dies here is no machine
                    wrap_store=lambda store: FaultyStore(
                        store, fault=lambda _: Fault.LOST_REQUEST if wire.is_dead else None
                    ),
                ) as runtime:
                    self._runtime = runtime
                    (run,) = await runtime.submit(agent, [Errand(id=self.by)])
                    outcome = await runtime.drive(run)
                    if not wire.is_dead:
                        return outcome, await _folded(runtime, run)
            except JournalError:
                if not wire.is_dead:
                    raise
        message = "a run that was interrupted once did not come to its end"
        raise RuntimeError(message)

    async def _program(self, run: Run, _task: Any) -> None:
        tool = self.case.tool
        value = await run.call(tool.name, **self.case.arguments)
        if self.is_undoing:
            assert tool.undo is not None
            assert self._runtime is not None
            self._clock.advance(UNDO_AFTER_S)
            step = (await _folded(self._runtime, run.id)).calls["1.0"]
            assert step.intent is not None
            try:
                given = self.case.undo_arguments(value)
            except Exception as error:
                self._problem = error
                raise
            value = await run.compensate(step.intent.effect, tool.undo.name, **given)
        self._values.append(value)


def _leak(journal: Path, secrets: Mapping[str, Secret]) -> str:
    """Which of the secrets stands in the journal, and in which table; empty if none does."""
    with closing(sqlite3.connect(journal)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                for cell in row:
                    name = leaked(cell, secrets)
                    if name:
                        return f"`{name}` stands in the table `{table}`"
    return ""


async def _folded(runtime: Runtime, run: RunId) -> RunState:
    return fold(await runtime.store.entries(f"run/{run}"), await runtime.store.entries(f"inbox/{run}"))


async def _waited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
