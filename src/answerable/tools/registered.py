"""A registered tool: its value, and the functions that act."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from answerable.errors import ToolError

if TYPE_CHECKING:
    from answerable.kernel.tool import ToolSpec

Injection = Literal["key", "secret", "plan", "draft", "facts", "resource"]
Function = Callable[..., Awaitable[Any] | Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact as declared: which read, and from which arguments."""

    tool: Tool
    arguments: dict[str, str]
    max_age_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A registered tool: its `spec`, and the functions that act.

    It is deliberately not callable: an effect happens only through a run.
    """

    spec: ToolSpec
    function: Function
    is_async: bool
    injected: tuple[tuple[str, Injection], ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Fact])
    undo: Tool | None = None
    plan: Callable[..., object] | None = None
    probe: Function | None = None
    draft: Function | None = None
    fallback: Callable[..., object] | None = None

    @property
    def name(self) -> str:
        """The only name it answers to."""
        return self.spec.name

    def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Always raises: calling a tool directly would pass no gate."""
        raise ToolError(
            f"`{self.name}` cannot be called directly: that would pass no gate",
            hint=f"use `await run.call({self.name}, ...)`",
        )
