"""Names and values as SQL text. Whatever a user called a customer, a column or a segment, it is data."""

from collections.abc import Iterable


def identifier(name: str) -> str:
    """A column or table name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string value, quoted."""
    return "'" + text.replace("'", "''") + "'"


def number(value: float) -> str:
    """A double that reads back as the same bits: `1.5` -> `1.5E0`, so that no engine takes it for a decimal."""
    text = repr(float(value))
    if text in {"nan", "inf", "-inf"}:
        raise ValueError(f"{text} cannot stand in SQL text")
    return text if "e" in text else text + "E0"


def clamped(expression: str, low: str, high: str) -> str:
    """The expression, drawn in to the two limits; NULL stays NULL. `least(high, greatest(low, x))` would make it `low`
    in DuckDB, which passes over NULL, and NULL in engines that do not."""
    return f"CASE WHEN {expression} < {low} THEN {low} WHEN {expression} > {high} THEN {high} ELSE {expression} END"


def string_list(values: Iterable[str]) -> str:
    """A list of string values."""
    return "[" + ", ".join(literal(value) for value in values) + "]"
