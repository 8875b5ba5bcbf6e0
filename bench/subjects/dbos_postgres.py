"""DBOS on PostgreSQL, as shipped; see `bench.loops.dbos` for what is measured."""

from bench import contract
from bench.loops import dbos


def main() -> None:
    """Measure one run."""
    asked = contract.order(contract.parser(__doc__).parse_args())
    meter = contract.meter(asked)
    dbos.run(asked, meter, dbos.configuration(asked.database))
    contract.answer("dbos_postgres", asked, meter, options={}, packages=(*dbos.PACKAGES, "psycopg"))


if __name__ == "__main__":
    main()
