"""What a tool acts on here: something that does a named thing with named arguments, and answers.

AgentDojo's environments stand behind it in a measurement; tests put something small in their place.
"""

from typing import Annotated, Any, Protocol

from answerable import Arguments, Text, Trusted


class World(Protocol):
    """Where a call ends up once every gate has let it pass."""

    has_shown_injection: bool
    """Whether anything that it answered held the attacker's text."""

    def do(self, function: str, /, **arguments: Any) -> Any:
        """Do it and return what it answers. Raises `NotDone` where it refuses; then nothing was changed."""
        ...


class Request(Arguments):
    """What the user asks for, in the user's own words: the one text that every run may believe."""

    text: Annotated[Text, Trusted()]
