"""A recorded shop: tools built from recorded JSON Schemas, and answers served from recorded results.

The data is tau2-bench's retail domain, with the calls of an oracle and what the shop answered. It is read
from the folder that `ANSWERABLE_WORKLOADS` names and is never part of the project.

Each recorded conversation has a shop of its own. It answers from what was recorded in this conversation, then
from what others read before anybody had changed anything: all of them begin with the same shop. A call that
nobody recorded is not found.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from answerable import EffectKey, NotDone, Tool, fact, tool

WORKLOADS = Path(os.environ.get("ANSWERABLE_WORKLOADS") or Path(__file__).parents[3] / "shared" / "workloads")
RETAIL = WORKLOADS / "tau2_retail.json"

Step = dict[str, Any]
Call = tuple[str, str]
"""A tool's name and its arguments as canonical JSON."""

_PLAIN: dict[str, Any] = {"string": str, "integer": int, "boolean": bool, "number": Decimal}


def canonical(tool_name: str, arguments: Mapping[str, Any]) -> Call:
    """The key under which a call was recorded."""
    return tool_name, json.dumps(arguments, sort_keys=True)


@dataclass(frozen=True)
class Retail:
    """The recorded domain."""

    definitions: tuple[dict[str, Any], ...]
    policy_text: str
    traces: tuple[dict[str, Any], ...]
    before: dict[Call, Step]
    """Reads that were recorded before their conversation had changed anything."""
    kinds: dict[str, str]
    """Tool → READ, WRITE or GENERIC, as recorded."""


def load_retail() -> Retail:
    """Read the recorded domain."""
    read = json.loads(RETAIL.read_text("utf-8"))
    before: dict[Call, Step] = {}
    kinds: dict[str, str] = {}
    for trace in read["traces"]:
        is_untouched = True
        for step in trace["steps"]:
            kinds[step["tool"]] = step["type"].removeprefix("ToolType.")
            is_untouched = is_untouched and not step["changed"]
            if is_untouched and step["type"] == "ToolType.READ":
                before.setdefault(canonical(step["tool"], step["args"]), step)
    return Retail(tuple(read["tools"]), read["policy"], tuple(read["traces"]), before, kinds)


@dataclass
class RecordedShop:
    """The shop of one conversation."""

    steps: list[Step]
    before: dict[Call, Step]
    found: str = ""
    """The user who was found last: the one who is talking to the desk."""
    arrived: dict[str, str] = field(default_factory=dict)
    """Effect key → tool, of every write that reached the shop."""
    performed: dict[str, Call] = field(default_factory=dict)
    """Effect key → call, of every write that was done."""
    calls: list[Call] = field(default_factory=list)
    """Every call of the desk, in order; what a rule asked for is not among them."""

    def answer(self, name: str, arguments: dict[str, Any], key: str = "") -> str:
        """What the recorded shop answered to this call. Raises `NotDone` for an error, or for no record."""
        asked = canonical(name, arguments)
        if key:
            assert key not in self.arrived, "a write arrived twice under one key"
            self.arrived[key] = name
        own = next((step for step in self.steps if canonical(step["tool"], step["args"]) == asked), None)
        step = own or (None if key else self.before.get(asked))
        if step is None:
            raise NotDone(f"{name}: no such record", failure="not_found")
        if step["error"]:
            message = re.search(r"'(.*)'", step["error"])
            raise NotDone(message[1] if message else step["error"], failure="not_found")
        if name.startswith("find_user_id"):
            self.found = step["result"]
        if key:
            self.performed[key] = asked
        return str(step["result"])


class OrderOwner(BaseModel):
    """Whose an order is."""

    order_id: str
    user_id: str


class Session(BaseModel):
    """Who has been found in this conversation; empty before that."""

    user_id: str


@tool(effect="read")
async def order_owner(order_id: str, *, shop: RecordedShop) -> OrderOwner:
    """Whose the order is. Only rules ask for it."""
    text = shop.answer("get_order_details", {"order_id": order_id})
    owner = re.search(r'"user_id": "([a-z0-9_]+)"', text)
    if owner is None:
        raise NotDone("the record does not say whose the order is", failure="schema")
    return OrderOwner(order_id=order_id, user_id=owner[1])


@tool(effect="read")
async def session(*, shop: RecordedShop) -> Session:
    """Who has been found in this conversation. Only rules ask for it."""
    return Session(user_id=shop.found)


def build_tool(definition: dict[str, Any], *, mode: Literal["upsert", "native_key"] | None) -> Tool:
    """A tool from its JSON Schema definition. `mode` is None for a read.

    A write on an order gets the order's owner as a fact, and every write the one who is talking.
    """
    function = definition["function"]
    name, parameters = function["name"], function["parameters"]
    required = parameters.get("required", [])
    fields = {
        key: _annotation(name, key, schema) if key in required else _annotation(name, key, schema) | None
        for key, schema in parameters["properties"].items()
    }

    async def read(*, shop: RecordedShop, **arguments: Any) -> str:
        shop.calls.append(canonical(name, arguments))
        return shop.answer(name, arguments)

    async def write(*, key: EffectKey, shop: RecordedShop, **arguments: Any) -> str:
        shop.calls.append(canonical(name, arguments))
        return shop.answer(name, arguments, key)

    function_ = read if mode is None else write
    injected: dict[str, Any] = (
        {"shop": RecordedShop} if mode is None else {"key": EffectKey, "shop": RecordedShop}
    )
    function_.__annotations__ = {**fields, **injected, "return": str}
    function_.__doc__ = function["description"]
    function_.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if key in required else None,
            )
            for key in sorted(fields, key=lambda key: key not in required)
        ]
        + [inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY) for key in injected]
    )
    if mode is None:
        return tool(name=name, effect="read", timeout_s=5.0)(function_)
    facts = {"session": fact(session)}
    if "order_id" in fields:
        facts["order"] = fact(order_owner, order_id="{order_id}")
    return tool(name=name, mode=mode, facts=facts, timeout_s=5.0)(function_)


def _annotation(tool_name: str, key: str, schema: dict[str, Any]) -> Any:
    """The strict type of a parameter. Raises `ValueError` for a schema that says too little."""
    if schema.get("enum"):
        kind: Any = Literal[tuple(schema["enum"])]
    elif schema.get("type") == "array":
        kind = list[_annotation(tool_name, key, schema["items"])]
    elif schema.get("type") in _PLAIN:
        kind = _PLAIN[schema["type"]]
    else:
        message = f"`{tool_name}.{key}` has a schema that cannot be made strict: {schema}"
        raise ValueError(message)
    described = schema.get("description")
    return Annotated[kind, Field(description=described)] if described else kind
