"""Where the outside is touched: the only module that calls a tool's function.

A write is sent only with a `Permit`. Looked at last, in this order: the halts in force, the run's owner, how long ago
that look was, the send deadline.
Credentials exist in clear only inside the call. A synchronous function runs in a bounded pool of its own; when
it is given up its thread goes on, so its slot stays taken until it returns.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from answerable.engine.redact import Redactor
from answerable.engine.signals import Halted
from answerable.errors import ConfigError, FailureClass, JournalFenced, NotDone, ToolFailed
from answerable.kernel.encoding import encode_payload
from answerable.kernel.secret import Secret
from answerable.kernel.tool import fields_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import BaseModel

    from answerable.engine.ports import Ports
    from answerable.gates.pipeline import Permit
    from answerable.journal.store import Halt
    from answerable.tools.declare import Function, Tool

ERROR_CHARS_MAX = 500
LOOK_HOLDS_NS = 250_000_000
"""How long the last look holds. A process that was paused between its look and its send looks again."""
OF_TOOLS: frozenset[str] = frozenset(get_args(FailureClass)) - {"circuit_open"}
"""The classes that a tool may give its failures; a breaker is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of a send. `state` is `done`, `failed` (certainly not done) or `unknown`."""

    state: str
    result: Any = None
    """The result in its JSON form."""
    failure: str | None = None
    error: str = ""
    retry_after_s: float | None = None
    is_retryable: bool = False
    us: int = 0
    was_cancelled: bool = False
    was_sent: bool = True
    """Whether the other side may have seen it: what never left us says nothing of them."""


class Performer:
    """Calls tools' functions with what they need injected."""

    def __init__(
        self, ports: Ports, resources: Mapping[str, object], secrets: Mapping[str, Secret], sync_workers: int
    ) -> None:
        self._ports = ports
        self._resources = resources
        self._secrets = secrets
        self._redactor = Redactor(secrets.values())
        self._pool = ThreadPoolExecutor(max_workers=sync_workers, thread_name_prefix="answerable-tool")

    def close(self) -> None:
        """Take no more work. Threads that were given up are left to end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def check(self, tool: Tool) -> None:
        """Refuse a tool whose credentials or resources are not there, before anything runs."""
        for name, injection in tool.injected:
            if injection == "secret" and name not in self._secrets:
                raise ConfigError(
                    f"`{tool.name}` needs the secret `{name}`", hint="give it to the runtime: secrets="
                )
            if injection == "resource" and name not in self._resources:
                raise ConfigError(f"`{tool.name}` needs `{name}`", hint="give it to the runtime: resources=")

    async def write(
        self,
        permit: Permit,
        tool: Tool,
        arguments: BaseModel,
        *,
        look: Callable[[], Awaitable[tuple[bool, tuple[Halt, ...]]]],
        covers: frozenset[str],
        plan: object = None,
        draft: object = None,
        facts: Mapping[str, object] | None = None,
    ) -> Sent:
        """Send one write.

        Raises `Halted` if a halt came between the intent and the send, `JournalFenced` if the run has another owner
        since: nothing was sent.
        """
        if permit.intent.tool != tool.name:
            message = f"the permit is for `{permit.intent.tool}`, not for `{tool.name}`"
            raise ValueError(message)
        looked_at: int | None = None
        while looked_at is None or self._is_stale(looked_at, permit):
            looked_at = self._ports.clock.monotonic_ns()
            is_ours, halts = await look()
            for halt in halts:
                if halt.scope in covers:
                    raise Halted(halt.scope, halt.reason)
            if not is_ours:
                raise JournalFenced(
                    "the run has a newer owner; nothing was sent", hint="its owner goes on with it"
                )
        if self._ports.clock.monotonic_ns() > permit.send_by_ns:
            return Sent(
                state="failed",
                failure="timeout",
                error="the send deadline had passed; nothing was sent",
                is_retryable=True,
                was_sent=False,
            )
        return await self._send(
            tool,
            tool.function,
            arguments,
            key=permit.effect,
            plan=plan,
            draft=draft,
            facts=facts,
            is_write=tool.spec.is_write,
            begin_by_ns=permit.send_by_ns,
        )

    def _is_stale(self, looked_at: int, permit: Permit) -> bool:
        """Whether to look again: we were paused, or the journal is slow. Past the send deadline it does not matter."""
        now = self._ports.clock.monotonic_ns()
        return looked_at + LOOK_HOLDS_NS <= now <= permit.send_by_ns

    async def read(self, tool: Tool, arguments: BaseModel) -> Sent:
        """Perform a read."""
        return await self._send(tool, tool.function, arguments, key="", plan=None, draft=None, is_write=False)

    async def probe(self, tool: Tool, arguments: BaseModel, key: str) -> Sent:
        """Ask whether a write happened: `done` with its result, `failed` if certainly not, else `unknown`."""
        assert tool.probe is not None
        sent = await self._send(
            tool, tool.probe, arguments, key=key, plan=None, draft=None, is_write=False, role="probe"
        )
        if sent.state != "done":
            return replace(sent, state="unknown", result=None, is_retryable=False)
        is_absent = sent.result is None and sent.failure is None
        return Sent(state="failed", us=sent.us) if is_absent else sent

    async def draft(self, tool: Tool, arguments: BaseModel, key: str) -> Sent:
        """Make the harmless draft of a `draft_then_commit` write."""
        assert tool.draft is not None
        return await self._send(
            tool, tool.draft, arguments, key=key, plan=None, draft=None, is_write=False, role="draft"
        )

    async def _send(
        self,
        tool: Tool,
        function: Function,
        arguments: BaseModel,
        *,
        key: str,
        plan: object,
        draft: object,
        is_write: bool,
        facts: Mapping[str, object] | None = None,
        role: Literal["call", "probe", "draft"] = "call",
        begin_by_ns: int | None = None,
    ) -> Sent:
        begun = self._ports.clock.monotonic_ns()
        failed = "unknown" if is_write else "failed"
        try:
            if role == "call":
                given = fields_of(arguments)
                given |= self._injected(tool, key, plan, draft, facts)
                value = await self._call(function, (), given, tool, begin_by_ns)
            else:
                value = await self._call(function, (arguments,), self._for_probe(function, key), tool, None)
        except _NeverBegan:
            was_cancelled = _is_being_cancelled()
            sent = Sent(
                state="failed",
                failure="timeout",
                error="no thread was free to call it; nothing was sent",
                is_retryable=not was_cancelled,
                was_cancelled=was_cancelled,
                was_sent=False,
            )
        except TimeoutError as error:
            sent = Sent(
                state=failed,
                failure="timeout",
                error=self._words(error) or "no answer in time",
                is_retryable=True,
            )
        except NotDone as error:
            sent = Sent(
                state="failed",
                failure=_failure_class(error),
                error=self._words(error),
                retry_after_s=error.retry_after_s,
                is_retryable=error.failure in ("rate_limited", "upstream", "timeout"),
            )
        except ToolFailed as error:
            sent = Sent(
                state=failed,
                failure=_failure_class(error),
                error=self._words(error),
                retry_after_s=error.retry_after_s,
                is_retryable=error.failure in ("rate_limited", "upstream", "timeout"),
            )
        except asyncio.CancelledError:
            if _is_being_cancelled():
                sent = Sent(state=failed, failure="timeout", error="cancelled", was_cancelled=True)
            else:  # something inside the tool was cancelled, and it let that out: a failure of the tool
                sent = Sent(state=failed, failure="upstream", error="it cancelled itself", is_retryable=True)
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; for a write it means maybe done
            sent = Sent(state=failed, failure="upstream", error=self._words(error), is_retryable=True)
        else:
            sent = Sent(state="done", result=value) if role == "draft" else self._returned(tool, value, role)
        took = (self._ports.clock.monotonic_ns() - begun) // 1000
        return replace(sent, us=took)

    async def _call(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tool: Tool,
        begin_by_ns: int | None,
    ) -> Any:
        async with asyncio.timeout(tool.spec.timeout_s):
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            value = await self._in_thread(lambda: function(*args, **kwargs), begin_by_ns)
            return await value if inspect.isawaitable(value) else value

    async def _in_thread(self, call: Callable[[], Any], begin_by_ns: int | None) -> Any:
        """Call in the pool. Raises `_NeverBegan` where no thread got to it in time: then it never will be called."""
        start = _Start()

        def begin() -> Any:
            is_late = begin_by_ns is not None and self._ports.clock.monotonic_ns() > begin_by_ns
            if not start.take(is_late=is_late):
                raise _NeverBegan
            return call()

        future = asyncio.get_running_loop().run_in_executor(self._pool, begin)
        future.add_done_callback(_heard)
        try:
            # Shielded: a thread cannot be stopped, and its slot must stay taken until it returns.
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if start.give_up():
                raise _NeverBegan from None
            raise

    def _returned(self, tool: Tool, value: object, role: str) -> Sent:
        if role == "probe" and value is None:
            return Sent(state="done", result=None)
        try:
            result = self._redactor.value(tool.spec.result.dump_python(value, mode="json", warnings="error"))
            tool.spec.result.validate_json(encode_payload(result))
        except (PydanticSerializationError, ValidationError, ValueError) as error:
            # The call itself went through: for a write that means done, with a result that nobody can use.
            return Sent(
                state="done" if tool.spec.is_write else "failed",
                failure="schema",
                error=self._words(error),
            )
        return Sent(state="done", result=result)

    def _injected(
        self, tool: Tool, key: str, plan: object, draft: object, facts: Mapping[str, object] | None
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, injection in tool.injected:
            match injection:
                case "key":
                    found[name] = key
                case "plan":
                    found[name] = plan
                case "draft":
                    found[name] = draft
                case "facts":
                    found[name] = dict(facts or {})
                case "secret":
                    found[name] = self._secrets[name]
                case "resource":
                    found[name] = self._resources[name]
        return found

    def _for_probe(self, function: Function, key: str) -> dict[str, Any]:
        """A probe takes the arguments, and by name what it asks for of the key, secrets and resources."""
        wanted = list(inspect.signature(function).parameters)  # through a decorator, too
        everything: dict[str, Any] = {**self._resources, **self._secrets, "key": key}
        return {name: everything[name] for name in wanted[1:] if name in everything}

    def _words(self, error: BaseException) -> str:
        """An error's text without any credential in it, and not too long."""
        return self._redactor.words(error)[:ERROR_CHARS_MAX]


class _NeverBegan(Exception):
    """A call in a thread was given up, or too late, before it began: nothing was sent, and nothing will be."""


class _Start:
    """Whether a call in a thread began, or was given up before: exactly one of the two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = ""

    def take(self, *, is_late: bool) -> bool:
        """Begin, unless it is too late or was given up."""
        with self._lock:
            if not self._state:
                self._state = "given up" if is_late else "begun"
            return self._state == "begun"

    def give_up(self) -> bool:
        """See to it that it never begins; whether that is still possible."""
        with self._lock:
            self._state = self._state or "given up"
            return self._state == "given up"


def _heard(future: asyncio.Future[Any]) -> None:
    """Nobody waits for a call that was given up; its error is not worth a warning."""
    if not future.cancelled():
        future.exception()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failure_class(error: ToolFailed) -> str:
    """The class that a tool gave its failure; entries hold it in clear, so a made-up one is not taken over."""
    return error.failure if error.failure in OF_TOOLS else "upstream"
