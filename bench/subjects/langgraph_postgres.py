"""LangGraph with its PostgreSQL checkpointer; see `bench.loops.langgraph` for what is measured."""

from langgraph.checkpoint.postgres import PostgresSaver

from bench import contract
from bench.loops import langgraph

PACKAGES = ("langgraph-checkpoint-postgres", "psycopg")


def main() -> None:
    """Measure one run."""
    arguments = langgraph.parser().parse_args()
    asked = contract.order(arguments)
    meter = contract.meter(asked)
    with PostgresSaver.from_conn_string(asked.database) as saver:
        saver.setup()
        langgraph.measure("langgraph_postgres", asked, meter, arguments, saver, packages=PACKAGES)


if __name__ == "__main__":
    main()
