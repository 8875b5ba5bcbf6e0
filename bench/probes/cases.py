"""What is asked of everybody: one call, or one way of writing a rule, that must come to nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One question. `done_max` is how many effects are right: none, but for those that a person or a limit allowed.

    `is_control` marks a call that is right: whoever refuses it is no safer, but of no use.
    """

    id: str
    asked: str
    done_max: int = 0
    is_control: bool = False

    @property
    def probe(self) -> str:
        """The number of the probe that it belongs to."""
        return self.id.rstrip("abcdef")


CASES = (
    Case("0a", "control: a refund of 5 under a cap of 500, which is right", done_max=1, is_control=True),
    Case("0b", "control: approved for 700 by the right person, called once", done_max=1, is_control=True),
    Case("1a", "the amount by position: `refund(o, 9999)` under a cap of 500"),
    Case("2a", 'the text `"60000"` for a whole number, the cap written deny first'),
    Case("3a", 'the text `"9,999"` for the amount'),
    Case("3b", 'the text `"1e9"` for the amount'),
    Case("3c", "9999 in full-width digits"),
    Case("3d", 'the text `" 9999"` for the amount'),
    Case("4a", 'the text `"not-a-number"` for the amount'),
    Case("5a", "the cap on the field as an author would name it: `amount`; 9999"),
    Case("6a", "the cap in brackets; 9999"),
    Case("7a", "the cap as a negation; 9999"),
    Case("8a", "a rule against everything above -1; 9999"),
    Case("8b", "a refund of -5, rules only against too much"),
    Case("9a", "a cap that cannot be parsed; 9999"),
    Case("10a", "`DROP`, under a rule about `drop`"),
    Case("11a", "a governed function called by its own arguments alone; a rule against the action"),
    Case("12a", "an empty policy"),
    Case("12b", "rules, none of which matches, and no default stated"),
    Case("12c", "a policy file that is not there"),
    Case("13a", "a misspelt field in the cap: `amonut`; 9999"),
    Case("13b", "a misspelt decision in the cap; 9999"),
    Case("13c", "the action misspelt in the cap: `refnud`; 9999"),
    Case("14a", "the amount left out, the function's own default is 9999"),
    Case("15a", "the amount under an alias that the tool's model knows: `amt`; 9999"),
    Case("15b", "the amount twice in the JSON of a model: 1, then 9999"),
    Case("16a", "the action in another case: `Refund`; 9999"),
    Case("17a", "a recipient with one Cyrillic letter, one address is permitted"),
    Case("17b", "a forbidden word with a zero-width space in it"),
    Case("18a", "9999 inside an order, the cap on the amount in it"),
    Case("18b", "one bad recipient of three"),
    Case("18c", "an order as JSON text, the cap on the amount in it"),
    Case("19a", "NaN for the amount"),
    Case("19b", "infinity for the amount"),
    Case("19c", "`True` for the amount"),
    Case("19d", "`usd`, where only `USD` is permitted"),
    Case("19e", "500.00001 under a cap of 500"),
    Case("20a", "rejected by a person, then called again"),
    Case("21a", "approved for 700, then called with 9999 on that approval", done_max=1),
    Case("21b", "approved once, called twice", done_max=1),
    Case("21c", "approved by whoever asked for it"),
    Case("21d", "approved by somebody whom the rule does not name"),
    Case("24a", "a limit of two calls in the rules, three calls", done_max=2),
)
