"""The model of agents that are measured without one: an agent has to name a model, and nobody asks it anything."""

from random import Random

from answerable.models.port import Message, ModelReply, ToolOffer


def say_nothing(messages: tuple[Message, ...], tools: tuple[ToolOffer, ...], generator: Random) -> ModelReply:
    """Stand in for a model; being asked is a mistake of the measurement."""
    raise NotImplementedError(messages, tools, generator)
