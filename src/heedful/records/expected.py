"""What pydantic says of a wrong value, in plain words: what was expected, and what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heedful.records.recipes import show

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EXPECTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
"""Pydantic's kind of error to what was expected."""


def expected(error: ErrorDetails) -> str:
    """Return what was expected, such as "a whole number"."""
    plain = error["msg"].splitlines()[0].removeprefix("Input should be ").removeprefix("a valid ")
    return EXPECTED.get(error["type"], plain)


def plainly(error: ErrorDetails) -> str:
    """Return one clause that says what is wrong with a value."""
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "there is no such field"
        case "value_error":
            return error["msg"].splitlines()[0].removeprefix("Value error, ")
    return f"{expected(error)} was expected, got {show(error['input'])}"
