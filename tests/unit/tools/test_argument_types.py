# ruff: noqa: UP006, UP007, UP035, UP045, PYI061 - the old spellings must be known, too
"""The types of arguments, as an adversary would choose them: what could not be gated is refused, with the fix."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, List, Literal, NewType, Optional, TypedDict, TypeVar, Union
from uuid import UUID, uuid4

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainValidator,
    SecretStr,
    SkipValidation,
    Strict,
    StringConstraints,
    create_model,
    field_validator,
    model_validator,
)
from typing_extensions import TypeAliasType

from answerable.errors import ToolError
from answerable.kernel.ids import EffectKey
from answerable.kernel.secret import Secret
from answerable.kernel.tool import Text
from answerable.tools.declare import Arguments, Tool, tool


def read(**annotations: Any) -> Tool:
    """A read with these arguments; a pair is an annotation and a default."""

    def look(**_given: object) -> str:
        """Look something up."""
        return ""

    return tool(effect="read")(signed(look, annotations))


def signed(function: Any, annotations: dict[str, Any], result: Any = str) -> Any:
    """`function` as if it had been written with these parameters."""
    names = ", ".join(
        f"{name}=_{name}" if isinstance(given, tuple) else name for name, given in annotations.items()
    )
    scope: dict[str, Any] = {
        f"_{name}": given[1] for name, given in annotations.items() if isinstance(given, tuple)
    }
    exec(f"def {function.__name__}({names}): 'What it does.'", scope)
    made = scope[function.__name__]
    made.__annotations__ = {
        name: given[0] if isinstance(given, tuple) else given for name, given in annotations.items()
    }
    made.__annotations__["return"] = result
    return made


class Colour(StrEnum):
    """Text."""

    RED = "red"


class Level(IntEnum):
    """Integers."""

    ONE = 1


class Odd(Enum):
    """Neither."""

    HALF = 0.5


class Mixed(Enum):
    """Both."""

    A = "a"
    B = 1


class Item(Arguments):
    """A strict nested model."""

    sku: str
    price: Annotated[Decimal, Field(ge=0)] = Decimal(1)


class Lax(BaseModel):
    """A model as one would write it anywhere else."""

    sku: str


class LaxAgain(Arguments):
    """Strictness that was taken back."""

    model_config = ConfigDict(strict=False)
    sku: str


class Open(Arguments):
    """Closedness that was taken back."""

    model_config = ConfigDict(extra="allow")
    sku: str


class Generated(Arguments):
    """Aliases that nobody wrote."""

    model_config = ConfigDict(alias_generator=str.upper)
    sku: str


class Titled(Arguments):
    """A harmless setting."""

    model_config = ConfigDict(title="T")
    sku: str


class Aliased(Arguments):
    """A second name."""

    sku: str = Field(alias="SKU")


class Deep(Arguments):
    """A lax model further down."""

    items: list[Lax]


class Converting(Arguments):
    """Reads its input in its own way."""

    sku: str

    @field_validator("sku", mode="before")
    @classmethod
    def _convert(cls, value: object) -> str:
        return str(value)


class Rewriting(Arguments):
    """Reads its whole input in its own way."""

    sku: str

    @model_validator(mode="before")
    @classmethod
    def _convert(cls, value: object) -> object:
        return value


class Checking(Arguments):
    """Only checks."""

    sku: str

    @field_validator("sku")
    @classmethod
    def _check(cls, value: str) -> str:
        return value

    @model_validator(mode="after")
    def _check_all(self) -> "Checking":
        return self


class Loose(Arguments):
    """One lax field."""

    n: int = Field(strict=False)


class Tree(Arguments):
    """Contains itself."""

    children: "list[Tree]"


class Dated(Arguments):
    """Makes up a value."""

    id: str = Field(default_factory=lambda: str(uuid4()))


class WrongDefault(Arguments):
    """A default that its own type refuses."""

    n: int = "5"  # type: ignore[assignment]


@dataclass
class Data:
    """A dataclass."""

    a: str


class Dict(TypedDict):
    """A typed dictionary."""

    a: str


T = TypeVar("T")


class Page(Arguments, Generic[T]):
    """A generic model."""

    items: list[T]


Usd = NewType("Usd", Decimal)
Cents = NewType("Cents", float)
Alias = TypeAliasType("Alias", Decimal)
LaxAlias = TypeAliasType("LaxAlias", "list[float]")


def named(value: object) -> str:
    """The name of a case: the same in every process, whatever address a function in it has."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize(
    "annotation",
    [
        str, int, bool, Decimal, datetime, date, time, Colour, Level, Item, Titled, Checking, Usd, Alias, Text, Literal["a", "b"], Literal[1, None],
        Literal[True], str | None, Optional[Item], list[str], list[Item | None], tuple[str, ...], tuple[int, str], set[str], frozenset[Colour],
        set[Literal["a"]], dict[str, Decimal], dict[Annotated[str, Field(max_length=3)], list[Item]], Item | Checking, Page[int], Page[Item],
        Annotated[str, Field(pattern="^a$"), "doc"], Annotated[Decimal, Field(gt=0), AfterValidator(lambda v: v)],
        Annotated[str, StringConstraints(max_length=3)], Annotated[int, Strict()],
    ],
    ids=named,
)  # fmt: skip
def test_a_type_that_can_be_gated_is_accepted(annotation: Any) -> None:
    """The closed list, and what is built of it."""
    assert read(x=annotation).spec.arguments.model_fields.keys() == {"x"}


@pytest.mark.parametrize(
    "annotation",
    [
        Any, object, float, Cents, LaxAlias, complex, bytes, timedelta, UUID, Callable, Data, Dict, SecretStr, Secret, EffectKey, Json, Json[int], T, None.__class__ | float,
        dict, list, tuple, set, frozenset, List, List[float], dict[str, Any], dict[str, float], dict[int, str], dict[Colour, str], dict[str, dict],
        list[Any], list[float], list[dict[str, Any]], tuple[float, ...], tuple[Any, ...], set[Decimal], set[Item], frozenset[datetime], set[float],
        Sequence[str], Mapping[str, str], Iterable[str], Iterator[str], AsyncIterator[str], Awaitable[str], type, type[str],
        float | None, Optional[float], int | float, Union[int, str], Decimal | str, str | list[str], Item | str, Item | Lax, str | Secret | None,
        Lax, LaxAgain, Open, Generated, Aliased, Deep, Converting, Rewriting, Loose, Tree, Dated, WrongDefault, Page, Page[float], Page[Lax], list[Lax], Lax | None,
        dict[str, list[tuple[Lax, ...]]], Odd, Mixed, list[Odd], Literal["a", 1], Literal[1, True], Literal[b"a"], Literal[None], Literal[Colour.RED],
        Annotated[int, Strict(False)], Annotated[int, Field(strict=False)], Annotated[str, Field(alias="y")], Annotated[str, Field(validation_alias="y")],
        Annotated[int, SkipValidation], SkipValidation[int], Annotated[int, SkipValidation()], Annotated[int, BeforeValidator(int)],
        Annotated[int, PlainValidator(int)], list[Annotated[int, BeforeValidator(int)]], Annotated[list[Annotated[int, Field(strict=False)]], "x"],
        Annotated[str, StringConstraints(strict=False)], Annotated[float, Field(gt=0)], NewType("Inner", list[Any]), Tool,
    ],
    ids=named,
)  # fmt: skip
def test_a_type_that_cannot_be_gated_is_refused_with_the_fix(annotation: Any) -> None:
    """Open, inexact, lax, aliased, converting, ambiguous: at the top and inside of everything."""
    for given in ({"x": annotation}, {"ok": str, "x": annotation}):
        with pytest.raises(ToolError, match="the tool `look` ") as refused:
            read(**given)
        assert refused.value.hint
    with pytest.raises(ToolError):
        read(x=list[annotation] if annotation not in (Json, Callable, List) else annotation)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (Decimal, "5"), (Decimal, 0.5), (Decimal, Decimal("NaN")), (int, True), (int, "1"), (str, None), (str, 1), (Literal["a"], "b"),
        (Colour, "red"), (list[str], "abc"), (list[str], ["a", 1]), (Item, {"sku": "a"}), (Annotated[Decimal, Field(gt=0)], Decimal(0)),
        (Annotated[str, Field(pattern="^a$")], "b"), (str, Field(alias="y")), (str, Field("a", validation_alias="y")), (int, Field(1, strict=False)),
        (str, Field(default_factory=lambda: "x")), (str, Field(default_factory=uuid4)), (datetime, Field(default_factory=datetime.now)),
        (Annotated[int, AfterValidator(lambda value: {}[value])], 1), (dict[str, str], Field(default_factory=lambda data: data)),
    ],
    ids=named,
)  # fmt: skip
def test_a_default_that_would_not_pass_as_an_argument_is_refused(annotation: Any, default: Any) -> None:
    """Nobody looks at a default again; and the same call must mean the same tomorrow."""
    with pytest.raises(ToolError):
        read(x=(annotation, default))


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (Decimal, Decimal(5)), (str | None, None), (list[str], []), (Item, Item(sku="a")), (Colour, Colour.RED), (int, Field(5, ge=1)),
        (list[str], Field(default_factory=list)), (list[str], Field(default_factory=list[str])), (str, Field(max_length=3)),
    ],
    ids=named,
)  # fmt: skip
def test_a_default_of_its_own_type_is_accepted(annotation: Any, default: Any) -> None:
    """As plain as can be."""
    read(x=(annotation, default))


@pytest.mark.parametrize(
    "name", ["_x", "tool", "type", "json", "copy", "schema", "model_dump", "model_config", "größe", "dict"]
)
def test_a_parameter_needs_a_plain_name(name: str) -> None:
    """One that entries can hold, and that means nothing else."""
    with pytest.raises(ToolError, match="has a parameter called"):
        read(**{name: str})


@pytest.mark.parametrize(
    "name",
    ["", "Look", "look-up", "lo ok", "look ", "1look", "lооk", "x" * 65, "look\n", "mcp.look", "<lambda>"],
)
def test_a_tool_needs_a_name_that_models_and_policies_can_share(name: str) -> None:
    """No case, no prefix, no trailing space, no look-alike letters: there is one way to write it."""

    def look() -> str:
        """Look."""
        return ""

    if name:
        with pytest.raises(ToolError, match="has a name"):
            tool(effect="read", name=name)(look)
    assert tool(effect="read", name="x" * 64)(look).name == "x" * 64


def test_text_for_people_is_found_wherever_it_is_declared() -> None:
    """In lists, options, mappings, nested and recursive shapes; a field that is strict anywhere is strict."""
    letter = create_model("letter", __base__=Arguments, body=(Text, ...), to=(str, ...))
    note = create_model("note", __base__=Arguments, body=(str, ...), remark=(Text | None, None))
    named = NewType("named", Text)  # type: ignore[valid-newtype]
    made = read(
        a=Text, b=str, c=list[Text], d=Text | None, e=dict[str, list[Text]], f=letter, g=list[letter] | None, h=named, i=letter | note, j=Colour,
        k=Annotated[Text, Field(max_length=3)], m=Text | None, n=tuple[Text, int],
    )  # fmt: skip
    assert made.spec.free_text == {"a", "c", "d", "e", "f.body", "g.body", "h", "i.remark", "k", "m", "n"}
