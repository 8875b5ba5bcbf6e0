"""A governed call of ours on PostgreSQL; see `bench.loops.governed` for what is measured."""

from bench import contract
from bench.loops import governed

PACKAGES = (*governed.PACKAGES, "psycopg")


def main() -> None:
    """Measure one run, or several at once."""
    arguments = governed.parser().parse_args()
    asked = contract.order(arguments)
    governed.measure("answerable_postgres", asked, arguments, asked.database, PACKAGES)


if __name__ == "__main__":
    main()
