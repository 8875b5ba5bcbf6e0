"""LangGraph with its SQLite checkpointer; see `bench.loops.langgraph` for what is measured."""

from langgraph.checkpoint.sqlite import SqliteSaver

from bench import contract
from bench.loops import langgraph


def main() -> None:
    """Measure one run."""
    arguments = langgraph.parser().parse_args()
    asked = contract.order(arguments)
    meter = contract.meter(asked)
    with SqliteSaver.from_conn_string(str(asked.folder / "checkpoints.db")) as saver:
        langgraph.measure(
            "langgraph_sqlite", asked, meter, arguments, saver, packages=("langgraph-checkpoint-sqlite",)
        )


if __name__ == "__main__":
    main()
