"""What the sections of an instance file are made of: fields, and kinds of values read by strict functions.

Every kind is a pydantic type that refuses with one error of type ``"mocap"``, whose context
holds what was expected; :mod:`mocap_opt.instance.problems` turns that into a `Problem`.
Booleans are not numbers, NaN and infinities are not numbers, and every number has a bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic import Field as PydanticField
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from mocap_opt import units
from mocap_opt.messages import close_to
from mocap_opt.units import Unit

BYTES_PER_ELEMENT = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
    "int4": 0.5,
    "ternary": 1.58 / 8,
}


def refuse(expected: str, remedy: str = "") -> PydanticCustomError:
    """Return the error of a value that is not what was `expected`.

    Parameters
    ----------
    expected : str
    remedy : str
        As of `mocap_opt.errors.Problem`.
    """
    # The message is a template; the context carries the words as they are.
    return PydanticCustomError("mocap", "{expected}", {"expected": expected, "remedy": remedy})


def _check_range(value: Fraction, low: float, high: float, above: bool) -> None:
    if value < units.exact(low) or (above and value == units.exact(low)):
        raise refuse(f"{'>' if above else '>='} {low:g}")
    if value > units.exact(high):
        raise refuse(f"<= {high:g}")


def _reader(
    unit: Unit | None, low: float, high: float, above: bool, whole: bool
) -> Callable[[object], int | float]:
    noun = f"a {'whole ' if whole else ''}number"

    def read(value: object) -> int | float:
        if unit is None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise refuse(noun)
        try:
            # Without a unit only plain numbers come this far, which every unit reads alike.
            number = units.parse(value, unit or Unit.TOKENS)
        except ValueError as error:
            raise refuse(str(error)) from None
        if whole and number.denominator != 1:
            raise refuse(f"a whole number of {unit.value}" if unit else noun)
        _check_range(number, low, high, above)
        return number.numerator if whole else float(number)

    return read


def _number_schema(unit: Unit | None, low: float, high: float, above: bool, whole: bool) -> dict[str, Any]:
    bounds = {"exclusiveMinimum" if above else "minimum": low, "maximum": high}
    number = {"type": "integer" if whole else "number", **bounds}
    if unit is None:
        return number
    return {"anyOf": [number, {"type": "string", "pattern": units.pattern(unit)}]}


def _number(
    unit: Unit | None, low: float, high: float, *, above: bool = False, whole: bool = False
) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = _number_schema(unit, low, high, above, whole)
    return BeforeValidator(_reader(unit, low, high, above, whole)), WithJsonSchema(schema)


Count = Annotated[int, *_number(None, 1, 10_000, whole=True)]
Nonnegative = Annotated[int, *_number(None, 0, 10_000, whole=True)]
Width = Annotated[int, *_number(None, 1, 10_000_000, whole=True)]
WidthOrZero = Annotated[int, *_number(None, 0, 10_000_000, whole=True)]
Stages = Annotated[int, *_number(None, 1, 512, whole=True)]
Chunks = Annotated[int, *_number(None, 1, 4096, whole=True)]
Side = Annotated[int, *_number(None, 1, 1024, whole=True)]
Batch = Annotated[int, *_number(None, 1, 1_000_000, whole=True)]
# The least values are far below any machine's; nearer to 0, quotients would overflow.
Tokens = Annotated[int, *_number(Unit.TOKENS, 1, 2**30, whole=True)]
TokensOrZero = Annotated[int, *_number(Unit.TOKENS, 0, 2**30, whole=True)]


def _read_tokens_or_auto(value: object) -> int:
    """Read a number of tokens; 0 stands for one that a rule picks."""
    return 0 if value == "auto" else int(_reader(Unit.TOKENS, 1, 2**30, False, True)(value))


_TOKENS_SCHEMA = _number_schema(Unit.TOKENS, 1, 2**30, False, True)["anyOf"]
TokensOrAuto = Annotated[
    int,
    BeforeValidator(_read_tokens_or_auto),
    WithJsonSchema({"anyOf": [{"const": "auto"}, *_TOKENS_SCHEMA]}),
]
FractionalTokens = Annotated[float, *_number(Unit.TOKENS, 0, 2**30)]
Bytes = Annotated[int, *_number(Unit.BYTES, 0, 10**15, above=True, whole=True)]
BytesOrZero = Annotated[int, *_number(Unit.BYTES, 0, 10**15, whole=True)]
Bandwidth = Annotated[float, *_number(Unit.BANDWIDTH, 1, 1e18)]
Flops = Annotated[float, *_number(Unit.FLOPS, 1, 1e21)]
Seconds = Annotated[float, *_number(Unit.SECONDS, 0, 1000)]
Elapsed = Annotated[float, *_number(Unit.SECONDS, 0, 1000, above=True)]
Instant = Annotated[float, *_number(Unit.SECONDS, 0, 10_000_000)]


def _read_efficiency(value: object) -> float | dict[int, float]:
    read = _reader(None, 1e-6, 1, False, False)
    if not isinstance(value, dict):
        return float(read(value))
    degrees = [str(degree) for degree in value]
    if not degrees or not all(re.fullmatch("[1-9][0-9]{0,3}", degree) for degree in degrees):
        raise refuse('a number, or one by degree such as {"1": 0.6, "8": 0.45}')
    return {int(degree): float(read(part)) for degree, part in sorted(value.items(), key=lambda e: int(e[0]))}


_EFFICIENCY = _number_schema(None, 1e-6, 1, False, False)
_BY_DEGREE: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"pattern": "^[1-9][0-9]{0,3}$"},
    "additionalProperties": _EFFICIENCY,
    "minProperties": 1,
}
Efficiency = Annotated[
    float | dict[int, float],
    BeforeValidator(_read_efficiency),
    WithJsonSchema({"anyOf": [_EFFICIENCY, _BY_DEGREE]}),
]


def _read_share(value: object) -> float:
    share = float(_reader(None, 0, 1, False, False)(value))
    # Programs multiply by the denominator.
    if (units.exact(share) * 10**6).denominator != 1:
        raise refuse("a number of at most six decimals")
    return share


Share = Annotated[
    float, BeforeValidator(_read_share), WithJsonSchema(_number_schema(None, 0, 1, False, False))
]


def _read_kept_share(value: object) -> float:
    if (share := _read_share(value)) == 0:
        raise refuse("> 0")
    return share


KeptShare = Annotated[
    float, BeforeValidator(_read_kept_share), WithJsonSchema(_number_schema(None, 0, 1, True, False))
]


def _read_tick(value: object) -> float | None:
    if value is None or value == "auto":
        return None
    return _reader(Unit.SECONDS, 1e-12, 1e-3, False, False)(value)


Tick = Annotated[
    float | None,
    BeforeValidator(_read_tick),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "null"},
                {"const": "auto"},
                _number_schema(Unit.SECONDS, 1e-12, 1e-3, False, False),
            ]
        }
    ),
]


def _number_or(word: str, low: float, high: float, noun: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """Read a whole number, or one word that stands for none."""

    def read(value: object) -> int | str:
        if value == word:
            return word
        if isinstance(value, str):
            raise refuse(f'{noun} or "{word}"')
        return int(_reader(None, low, high, False, True)(value))

    schema = {"anyOf": [_number_schema(None, low, high, False, True), {"const": word}]}
    return BeforeValidator(read), WithJsonSchema(schema)


QueueDepth = Annotated[
    int | Literal["unbounded"], *_number_or("unbounded", 1, 10_000, "a whole number of chunks")
]
StagesOrAuto = Annotated[int | Literal["auto"], *_number_or("auto", 1, 512, "a whole number")]
CountOrAuto = Annotated[int | Literal["auto"], *_number_or("auto", 1, 10_000, "a whole number")]


def _read_precision(value: object) -> float:
    if isinstance(value, str):
        if value in BYTES_PER_ELEMENT:
            return BYTES_PER_ELEMENT[value]
        names = ", ".join(BYTES_PER_ELEMENT)
        raise refuse(f"one of {names}, or bytes per element", close_to(value, BYTES_PER_ELEMENT))
    return float(_reader(None, 1 / 16, 16, False, False)(value))


Precision = Annotated[
    float,
    BeforeValidator(_read_precision),
    WithJsonSchema(
        {"anyOf": [{"enum": list(BYTES_PER_ELEMENT)}, _number_schema(None, 1 / 16, 16, False, False)]}
    ),
]


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse("true or false")
    return value


Flag = Annotated[bool, BeforeValidator(_read_flag), WithJsonSchema({"type": "boolean"})]


def _text(longest: int, least: int = 0) -> tuple[BeforeValidator, WithJsonSchema]:
    def read(value: object) -> str:
        if not isinstance(value, str):
            raise refuse("a text")
        if not least <= len(value) <= longest:
            raise refuse(f"a text of {least} to {longest:,} characters")
        # Control characters would reach terminals, and half surrogates cannot be written.
        if not all(char.isprintable() or char in "\n\t" for char in value):
            raise refuse("a text of printable characters")
        return value

    return BeforeValidator(read), WithJsonSchema({"type": "string", "minLength": least, "maxLength": longest})


Name = Annotated[str, *_text(200, 1)]
Label = Annotated[str, *_text(200)]
Description = Annotated[str, *_text(10_000)]


def choice(*options: str | int | None) -> tuple[BeforeValidator, WithJsonSchema]:
    """Read one of a few words (or numbers, or null)."""

    def read(value: object) -> object:
        known = value is None or (isinstance(value, str | int) and not isinstance(value, bool))
        if not known or value not in options:
            listed = [
                f'"{option}"' if isinstance(option, str) else str(option or "null") for option in options
            ]
            words = [str(option) for option in options if option is not None]
            raise refuse(" or ".join(listed), close_to(value, words))
        return value

    return BeforeValidator(read), WithJsonSchema({"enum": list(options)})


def _read_die(value: object) -> tuple[int, int]:
    pair = value if isinstance(value, (list, tuple)) else ()
    whole = [n for n in pair if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1024]
    if len(pair) != 2 or len(whole) != 2:
        raise refuse("a die [row, column], counted from 0", "write [0, 3]")
    return whole[0], whole[1]


_DIE_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 1023},
    "minItems": 2,
    "maxItems": 2,
}
Die = Annotated[tuple[int, int], BeforeValidator(_read_die), WithJsonSchema(_DIE_SCHEMA)]


def _read_ends(value: object) -> tuple[object, object]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise refuse("the two dies that a link joins", "write [[0, 3], [0, 4]]")
    return value[0], value[1]


def _two_ends(ends: tuple[Any, Any]) -> tuple[Any, Any]:
    if ends[0] == ends[1]:
        raise refuse("two different dies", "write [[0, 3], [0, 4]]")
    return ends


Ends = Annotated[
    tuple[Die, Die],
    BeforeValidator(_read_ends),
    AfterValidator(_two_ends),
    WithJsonSchema({"type": "array", "items": _DIE_SCHEMA, "minItems": 2, "maxItems": 2}),
]


def by_shape(value: object) -> str:
    """Tag of a value that may be one thing for all stages or a list with one per stage."""
    return "<list>" if isinstance(value, (list, tuple)) else "<one>"


_REQUIRED: Any = ...


def field(
    description: str,
    *examples: Any,
    unit: str | None = None,
    default: Any = _REQUIRED,
    default_factory: Callable[[], Any] | None = None,
) -> Any:
    """Return a field with its meaning, examples (used in remedies) and unit.

    Parameters
    ----------
    description : str
    *examples
        Values as files may hold them.
    unit : str, optional
        Of the plain number.
    default : optional
        None given: the field is required.
    default_factory : callable, optional
        Makes the default.
    """
    extra: JsonDict | None = {"unit": unit} if unit else None
    if default_factory is not None:
        return PydanticField(
            default_factory=default_factory,
            description=description,
            examples=list(examples) or None,
            json_schema_extra=extra,
        )
    return PydanticField(
        default, description=description, examples=list(examples) or None, json_schema_extra=extra
    )


class Section(BaseModel):
    """Base of all sections: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
