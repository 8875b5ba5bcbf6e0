"""A value that refuses to be shown."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A credential. It exists in clear only where `reveal` is called, inside a tool's send.

    It prints as `Secret(***)`, has no JSON form, cannot be pickled or copied into an entry, and compares
    only by identity.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call this only while sending."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        message = "a Secret is never serialised"
        raise TypeError(message)
