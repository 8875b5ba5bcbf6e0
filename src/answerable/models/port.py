"""The one seam to language models: a request goes out, a reply comes back, both are plain values.

A model port performs exactly one attempt. Retries, budgets, fallbacks and journaling belong to the engine,
so an adapter switches its SDK's own retries off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from decimal import Decimal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The model's proposal to use a tool. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. A `tool` message answers the call `call_id`; an `assistant` one may hold calls."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    tool: str = ""

    def to_json(self) -> dict[str, Any]:
        """The form in which a message is journaled; empty fields are left out."""
        content: dict[str, Any] = {"role": self.role, "text": self.text}
        if self.calls:
            content["calls"] = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in self.calls]
        if self.call_id:
            content["call_id"] = self.call_id
        if self.tool:
            content["tool"] = self.tool
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Message:
        """The message behind `to_json`."""
        calls = tuple(ToolCall(**call) for call in content.get("calls", ()))
        return cls(
            role=content["role"],
            text=content["text"],
            calls=calls,
            call_id=content.get("call_id", ""),
            tool=content.get("tool", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """A tool as the model is shown it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of the arguments object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """What one attempt sends."""

    model: str
    """`PROVIDER:NAME`, as in `openai:gpt-4o-mini` or `scripted:desk`."""
    messages: tuple[Message, ...]
    tools: tuple[ToolOffer, ...] = ()
    output_schema: dict[str, Any] | None = None
    """JSON Schema of the structured answer that ends the loop, where one is wanted."""
    tokens_max: int = 1024
    """Upper bound of what the model may write."""
    temperature: str | None = None
    """A decimal as text, so that requests have a canonical form."""
    timeout_s: float = 60.0
    attempt: int = 1
    """Which attempt of this step it is; a scripted model may use it, a provider does not see it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one attempt. Cached tokens are included in `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        """All tokens that count against a budget."""
        return self.input + self.output


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What came back: text, or calls, or both."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    """The model that the provider says answered."""
    is_scripted: bool = False
    """True where a program stood in for a model; shown wherever the reply is."""
    finish_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an attempt cost, and by which table. `usd` is None where nobody knows."""

    usd: Decimal | None
    table: str


class ModelPort(Protocol):
    """A provider of models."""

    async def request(self, request: ModelRequest) -> ModelReply:
        """One attempt.

        Raises `ModelFailed`, saying whether another try may help and whether the attempt may have been
        billed.
        """
        ...

    def tokens_bound(self, request: ModelRequest) -> int:
        """A proven upper bound of the request's input tokens (one token is at least one byte)."""
        ...

    def cost(self, model: str, usage: Usage) -> Cost:
        """The price of `usage` on `model`; `usd` is None where the price is unknown."""
        ...

    def cost_bound(self, model: str, *, input_tokens: int, output_tokens: int) -> Cost:
        """An upper bound of the price of an attempt, however its tokens are cached; None where unknown."""
        ...
