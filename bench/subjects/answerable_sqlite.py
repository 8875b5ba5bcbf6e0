"""A governed call of ours on SQLite, the default journal; see `bench.loops.governed` for what is measured."""

from bench import contract
from bench.loops import governed


def main() -> None:
    """Measure one run, or several at once."""
    arguments = governed.parser().parse_args()
    asked = contract.order(arguments)
    governed.measure("answerable_sqlite", asked, arguments, f"sqlite:///{asked.folder / 'journal.db'}")


if __name__ == "__main__":
    main()
