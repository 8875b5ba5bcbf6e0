"""Takes known credentials out of what tools say, before anybody reads or keeps it.

A tool should not return or raise its credential. Where one does, the credential is replaced, and what is
left is what everybody gets: the journal, the model, the run's code. What cannot be recognised is a credential
that a tool has cut, encrypted or encoded in a way of its own, and what it prints by itself.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, quote_plus

from answerable.kernel.encoding import scrub

if TYPE_CHECKING:
    from collections.abc import Iterable

    from answerable.kernel.secret import Secret

MARK = "***"
SECRET_CHARS_MIN = 4
"""A shorter value is no credential, and would be found by accident in everything."""
_CUT = re.compile(r"input_value=[^\n]*?\.\.\.[^\n]*?, input_type=")
"""Pydantic quotes the beginning and the end of a long value: half a credential would not be recognised."""


class Redactor:
    """Replaces some secrets by `***`, as they are and as they are quoted in JSON, Python and addresses."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        values = {secret.reveal() for secret in secrets}
        written = {form for value in values if len(value) >= SECRET_CHARS_MIN for form in _forms(value)}
        self._known = sorted(written, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without them; lone surrogates are replaced too, so that it can be written."""
        text = scrub(text)
        for form in self._known:
            text = text.replace(form, MARK)
        return text

    def words(self, error: BaseException) -> str:
        """What an error says, without them."""
        try:
            said = str(error)
        except Exception:  # noqa: BLE001 - an error that cannot even be said is still an error
            said = type(error).__name__
        return _CUT.sub("input_value=..., input_type=", self.text(said))

    def value(self, value: Any) -> Any:
        """A JSON value without them, in its texts and in its names."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            named = cast("dict[Any, Any]", value)
            return {self.value(key): self.value(item) for key, item in named.items()}
        if isinstance(value, list):
            return [self.value(item) for item in cast("list[Any]", value)]
        return value


def _forms(value: str) -> set[str]:
    return {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
    }
