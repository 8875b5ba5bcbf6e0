"""Where the outside is touched: the only module that calls a tool's function.

A write is sent only with a `Permit`. Looked at last, in this order: the halt epoch, then the send deadline.
Credentials exist in clear only inside the call. A synchronous function runs in a bounded pool of its own; when
it is given up its thread goes on, so its slot stays taken until it returns.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

from answerable.engine.signals import Halted
from answerable.errors import ConfigError, NotDone, ToolFailed
from answerable.kernel.encoding import decode, encode_payload, scrub
from answerable.kernel.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from answerable.engine.ports import Ports
    from answerable.gates.pipeline import Permit
    from answerable.journal.store import Halt
    from answerable.tools.declare import Function, Tool

ERROR_CHARS_MAX = 500


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


class Performer:
    """Calls tools' functions with what they need injected."""

    def __init__(
        self, ports: Ports, resources: Mapping[str, object], secrets: Mapping[str, Secret], sync_workers: int
    ) -> None:
        self._ports = ports
        self._resources = resources
        self._secrets = secrets
        self._pool = ThreadPoolExecutor(max_workers=sync_workers, thread_name_prefix="answerable-tool")

    def close(self) -> None:
        """Take no more work. Threads that were given up are left to end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def check(self, tool: Tool) -> None:
        """Refuse a tool whose credentials or resources are not there, before anything runs."""
        for name, injection in tool.injected:
            if injection == "secret" and name not in self._secrets:
                raise ConfigError(f"`{tool.name}` needs the secret `{name}`", hint="give it to the runtime: secrets=")
            if injection == "resource" and name not in self._resources:
                raise ConfigError(f"`{tool.name}` needs `{name}`", hint="give it to the runtime: resources=")

    async def write(
        self,
        permit: Permit,
        tool: Tool,
        arguments: BaseModel,
        *,
        halts: Callable[[], tuple[int, tuple[Halt, ...]]],
        covers: frozenset[str],
        plan: object = None,
        draft: object = None,
    ) -> Sent:
        """Send one write. Raises `Halted` if a halt came between the intent and the send: nothing was sent."""
        epoch, active = halts()
        if epoch != permit.halt_epoch:
            for halt in active:
                if halt.scope in covers:
                    raise Halted(halt.scope, halt.reason)
        if self._ports.clock.monotonic_ns() > permit.send_by_ns:
            return Sent(state="failed", failure="timeout", error="the send deadline had passed; nothing was sent", is_retryable=True)
        return await self._send(tool, tool.function, arguments, key=permit.effect, plan=plan, draft=draft, is_write=True)

    async def read(self, tool: Tool, arguments: BaseModel) -> Sent:
        """Perform a read."""
        return await self._send(tool, tool.function, arguments, key="", plan=None, draft=None, is_write=False)

    async def probe(self, tool: Tool, arguments: BaseModel, key: str) -> Sent:
        """Ask whether a write happened: `done` with its result, `failed` if certainly not, else `unknown`."""
        assert tool.probe is not None
        sent = await self._send(
            tool, tool.probe, arguments, key=key, plan=None, draft=None, is_write=False, is_probe=True
        )
        if sent.state != "done":
            return Sent(state="unknown", failure=sent.failure, error=sent.error, us=sent.us, was_cancelled=sent.was_cancelled)
        return Sent(state="failed", us=sent.us) if sent.result is None else sent

    async def draft(self, tool: Tool, arguments: BaseModel, key: str) -> Sent:
        """Make the harmless draft of a `draft_then_commit` write."""
        assert tool.draft is not None
        return await self._send(
            tool, tool.draft, arguments, key=key, plan=None, draft=None, is_write=False, is_probe=True
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
        is_probe: bool = False,
    ) -> Sent:
        begun = self._ports.clock.monotonic_ns()
        failed = "unknown" if is_write else "failed"
        try:
            if is_probe:
                value = await self._call(function, (arguments,), self._for_probe(function, tool, key), tool)
            else:
                given = {name: getattr(arguments, name) for name in type(arguments).model_fields}
                value = await self._call(function, (), {**given, **self._injected(tool, key, plan, draft)}, tool)
        except TimeoutError as error:
            sent = Sent(state=failed, failure="timeout", error=self._words(error) or "no answer in time", is_retryable=True)
        except NotDone as error:
            sent = Sent(
                state="failed",
                failure=error.failure,
                error=self._words(error),
                retry_after_s=error.retry_after_s,
                is_retryable=error.failure in ("rate_limited", "upstream", "timeout"),
            )
        except ToolFailed as error:
            sent = Sent(
                state=failed,
                failure=error.failure,
                error=self._words(error),
                retry_after_s=error.retry_after_s,
                is_retryable=error.failure in ("rate_limited", "upstream", "timeout"),
            )
        except asyncio.CancelledError:
            sent = Sent(state=failed, failure="timeout", error="cancelled", was_cancelled=True)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; for a write it means maybe done
            sent = Sent(state=failed, failure="upstream", error=self._words(error), is_retryable=True)
        else:
            sent = self._returned(tool, value, is_probe=is_probe)
        took = (self._ports.clock.monotonic_ns() - begun) // 1000
        return Sent(**{**_as_dict(sent), "us": took})

    async def _call(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], tool: Tool) -> Any:
        if asyncio.iscoroutinefunction(function):
            async with asyncio.timeout(tool.spec.timeout_s):
                return await function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))
        # Shielded: a thread cannot be stopped, and its slot must stay taken until it returns.
        async with asyncio.timeout(tool.spec.timeout_s):
            return await asyncio.shield(future)

    def _returned(self, tool: Tool, value: object, *, is_probe: bool) -> Sent:
        if is_probe and value is None:
            return Sent(state="done", result=None)
        try:
            result = tool.spec.result.dump_python(value, mode="json", warnings="error")
            tool.spec.result.validate_json(encode_payload(result))
        except (PydanticSerializationError, ValidationError, ValueError) as error:
            if is_probe:
                return Sent(state="done", result=decode(encode_payload(str(value))))
            # The call itself went through: for a write that means done, with a result that nobody can use.
            return Sent(
                state="done" if tool.spec.is_write else "failed",
                failure="schema",
                error=self._words(error),
            )
        return Sent(state="done", result=_clean(result))

    def _injected(self, tool: Tool, key: str, plan: object, draft: object) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, injection in tool.injected:
            match injection:
                case "key":
                    found[name] = key
                case "plan":
                    found[name] = plan
                case "draft":
                    found[name] = draft
                case "secret":
                    found[name] = self._secrets[name]
                case "resource":
                    found[name] = self._resources[name]
        return found

    def _for_probe(self, function: Function, tool: Tool, key: str) -> dict[str, Any]:
        """A probe takes the arguments, and by name what it asks for of the key, secrets and resources."""
        wanted = function.__code__.co_varnames[: function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
        everything: dict[str, Any] = {**self._resources, **self._secrets, "key": key}
        return {name: everything[name] for name in wanted[1:] if name in everything}

    def _words(self, error: BaseException) -> str:
        """An error's text without any credential in it, and not too long."""
        text = scrub(str(error))
        for secret in self._secrets.values():
            if secret.reveal():
                text = text.replace(secret.reveal(), "***")
        return text[:ERROR_CHARS_MAX]


def _as_dict(sent: Sent) -> dict[str, Any]:
    return {name: getattr(sent, name) for name in Sent.__slots__}


def _clean(value: Any) -> Any:
    """A JSON value whose texts can be written: lone surrogates are replaced."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_clean(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value
