"""LangGraph with a checkpointer: one node in a loop, one checkpoint a step.

Nothing is governed: no schema, policy, budget or audit entry. It is what the framework does to
make a step durable, in the shape that its documentation teaches.

`--durability sync` waits for a step's checkpoint before the next step begins, which is what
"durable step" means elsewhere in this comparison. `async` is the framework's default: the graph
runs ahead and its checkpoints follow; the clock stops when the last of them is written.

`--state results` keeps the last result only. `--state messages` keeps the conversation in the
state, as chat agents do: every checkpoint then holds every message so far.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# The framework leaves parts of its own signatures untyped.

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict, cast

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from bench import contract
from bench.contract import Order
from bench.meter import Meter
from bench.payload import one_kilobyte

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import Durability

PACKAGES = ("langgraph", "langgraph-checkpoint")


class Results(TypedDict):
    """A state that stays small: how far we are, and the last step's result."""

    step: int
    result: dict[str, int | str]


class Conversation(MessagesState):
    """A state that grows: how far we are, and all that was said."""

    step: int


def keep_result(state: Results) -> Results:
    """Return one kilobyte that replaces the last one."""
    return {"step": state["step"] + 1, "result": one_kilobyte(state["step"])}


def say_message(state: Conversation) -> dict[str, object]:
    """Return one kilobyte that is appended to the conversation."""
    text = str(one_kilobyte(state["step"])["note"])
    return {"step": state["step"] + 1, "messages": [AIMessage(text)]}


_SHAPES: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
    "results": (Results, keep_result),
    "messages": (Conversation, say_message),
}


def parser() -> ArgumentParser:
    """Return the arguments of a subject that drives the loop."""
    arguments = contract.parser(__doc__)
    arguments.add_argument("--durability", choices=("sync", "async"), default="sync")
    arguments.add_argument("--state", choices=tuple(_SHAPES), default="results")
    return arguments


def measure(
    subject: str,
    asked: Order,
    meter: Meter,
    arguments: Namespace,
    checkpointer: "BaseCheckpointSaver[Any]",
    *,
    packages: tuple[str, ...],
) -> None:
    """Measure one run whose checkpoints go where `checkpointer` puts them."""
    options = {"durability": arguments.durability, "state": arguments.state}
    run(asked, meter, checkpointer, **options)
    contract.answer(subject, asked, meter, options=options, packages=(*PACKAGES, *packages))


def run(
    asked: Order, meter: Meter, checkpointer: "BaseCheckpointSaver[Any]", *, durability: str, state: str
) -> None:
    """Drive the loop to its end twice: on a thread to get warm, and on one that counts.

    An invocation returns when its checkpoints are written, so none that the warm-up left behind is
    charged to the steps that count.
    """
    schema, work = _SHAPES[state]
    stop = 0

    def step(state: Any) -> Any:
        meter.tick()
        return work(state)

    def onward(state: Any) -> str:
        return "step" if state["step"] < stop else END

    graph = StateGraph(schema)
    graph.add_node("step", step)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", onward, ["step", END])
    loop = graph.compile(checkpointer=checkpointer)

    def drive(thread: str, steps: int) -> None:
        nonlocal stop
        stop = steps
        config: RunnableConfig = {"configurable": {"thread_id": thread}, "recursion_limit": steps + 1}
        loop.invoke({"step": 0}, config, durability=cast("Durability", durability))

    drive("warm-up", asked.warmup)
    meter.start()
    drive("counted", asked.steps)
    meter.finish()
