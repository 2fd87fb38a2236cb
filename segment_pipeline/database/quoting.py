"""Names and values as SQL text. Whatever a user called a customer, a column or a segment, it is data."""

from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase

# Characters that print nothing: ASCII control and space, Unicode spaces, zero-width and byte-order marks. Spelled out,
# and not \s, because DuckDB's (RE2) and Python's \s differ beyond ASCII, and both sides have to agree on "blank".
_INVISIBLE = r"\x00-\x20\x7f-\xa0" + "\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff"
VISIBLE_CHARACTER = f"[^{_INVISIBLE}]"
"""A regular expression, for RE2 and for Python's `re`, that a customer id has to match somewhere."""

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def identifier(name: str) -> str:
    """A column or table name, quoted."""
    return '"' + name.replace('"', '""') + '"'


def as_named(name: str) -> str:
    """A column's name as DuckDB compares it with others: capitals are no difference in ASCII, and are one beyond it.
    Python's lower() would make of "Номер" a column that DuckDB does not find."""
    return name.translate(_LOWER)


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


def visible(customer_id: str) -> str:
    """A condition, never NULL: the id is somebody's, and not missing or blank."""
    return f"coalesce(regexp_matches({customer_id}, {literal(VISIBLE_CHARACTER)}), false)"
