"""What columns of states, types, flags and codes say of order lines: cancelled, returned, not paid, a credit, a test.

Here: which columns speak of it, of how many lines and how much money, and the condition that leaves these out. Not
here: the words and codes (words.py), and money that is written in columns of its own (money.py).

A word is understood in many languages. A code is not: what CRN or 9 stands for the file does not say, so all values are
told with their lines and money, and the likeliest is put into the condition.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from segment_pipeline.column_names import hints_of, words_of
from segment_pipeline.database.quoting import as_named, identifier, literal, string_list
from segment_pipeline.quickstart.columns import MISSING, Column, bare_sql, known_sql, only_row, profiled_rows
from segment_pipeline.quickstart.lines.counting import Lines, in_quotes, written
from segment_pipeline.quickstart.lines.words import (
    DONE,
    KEPT_NAME,
    NO,
    NOT_UNDONE,
    RETURN_CODES,
    SALE_CODES,
    TEST_NAME,
    UNDONE,
    UNDONE_NAME,
    YES,
    says_what_state,
)
from segment_pipeline.quickstart.text import shown
from segment_pipeline.sources.expressions import mentions

_MOST_STATES = 20
"""Different texts up to which a column says in what state an order is."""
_MOST_LISTED = 6
_AS_CODES = ("extra", "place", "product", "person", "price", "count")
"""What a column may be called that has codes of its own: of taxes, of sizes."""
_PREFIX = r"^[A-Za-z]+"


@dataclass(frozen=True)
class Undone:
    """What is said of some lines; keeps : the condition that leaves them out."""

    sentence: str
    keeps: str


@dataclass(frozen=True)
class _Value:
    """One text of a column, as it is written there; None where it is blank. below : lines with an amount below zero."""

    text: str | None
    lines: int
    money: Decimal | None
    below: int

    @property
    def told(self) -> str:
        below = ", all below zero" if self.lines and self.below == self.lines else ""
        return f"{self.lines:,} are {'blank' if self.text is None else repr(self.text)} ({self.money or 0:,.2f}{below})"


def undone_lines(lines: Lines, where: str | None) -> list[str]:
    """What every column says of lines that may be no sales, a sentence each, and the condition that leaves out all of
    them at once. where : of the user; a column that it names has been seen to."""
    seen_to = [name for name in lines.table.columns if where is not None and mentions(where, as_named(name))]
    columns = [column for column in lines.table.columns.values() if column.name not in seen_to]
    found = [one for column in columns for one in _said(lines, column)]
    if lines.orders.order_id is not None and lines.orders.order_id not in seen_to:
        found += _of_prefixes(lines, lines.orders.order_id)
    sentences = [one.sentence for one in found]
    if len(found) > 1:
        sentences.append(f"to leave out all of these at once:  --where {in_quotes(_all_of(where, found))}")
    elif where is not None and found:
        sentences.append(f"beside your own condition:  --where {in_quotes(_all_of(where, found))}")
    return sentences


def _all_of(where: str | None, found: Sequence[Undone]) -> str:
    return " AND ".join(f"({one})" for one in [*([where] if where else []), *(one.keeps for one in found)])


def _said(lines: Lines, column: Column) -> list[Undone]:
    """What a column says of such lines; nothing, or one thing."""
    of_orders = {choice.column for choice in lines.table.roles.choices} | {lines.orders.amount}
    if column.name in of_orders or column.name in lines.table.made or column.known == 0:
        return []
    if column.distinct > _MOST_STATES or column.kind == "date":
        found = _filled_seldom(lines, column)
    else:
        texts = _texts(lines, column.name)
        undone = _flagged(column, texts) or _worded(lines, column, texts)
        found = _told_of_values(lines, column, undone) if undone else None
        found = found or _filled_seldom(lines, column) or _codes(lines, column, texts)
    return [found] if found is not None else []


# --- flags and words --------------------------------------------------------------------------------------------------


def _texts(lines: Lines, name: str) -> list[str]:
    """The different texts of a column that stand for something, as they are written there."""
    text = identifier(name)
    found = lines.connection.execute(f"SELECT text FROM (SELECT DISTINCT {text} AS text FROM raw_rows) ORDER BY text")
    return [text for (text,) in found.fetchall() if text is not None and text.strip().casefold() not in MISSING]


def _flagged(column: Column, texts: Sequence[str]) -> list[str]:
    """Those of a yes or no that say that a line was cancelled, is a test, or is not paid, by what the column is
    called."""
    called = "_".join(words_of(column.name))
    answers = {text.strip().casefold() for text in texts}
    if not answers <= YES | NO:
        return []
    if re.search(KEPT_NAME, called) and answers & NO:
        wrong = NO
    elif re.search(f"{UNDONE_NAME}|{TEST_NAME}", called):
        wrong = YES
    else:
        return []
    return [text for text in texts if text.strip().casefold() in wrong]


def _worded(lines: Lines, column: Column, texts: Sequence[str]) -> list[str]:
    """Those that are words for what was cancelled or came back."""
    if column.kind != "text":
        return []
    found = lines.connection.execute(
        f"SELECT text FROM (SELECT unnest({string_list(texts)}) AS text) WHERE {_is_undone('text')}"
    ).fetchall()
    return [text for (text,) in found]


def _is_undone(text: str) -> str:
    plain = f"strip_accents({text})"
    return f"{_says(text, UNDONE)} AND NOT regexp_matches({plain}, {literal(NOT_UNDONE)}, 'i')"


def _says(text: str, pattern: str) -> str:
    """A condition: the text has the pattern in it, as it stands or without accents."""
    either = " OR ".join(f"regexp_matches({one}, {literal(pattern)}, 'i')" for one in (text, f"strip_accents({text})"))
    return f"({either})"


def _values(lines: Lines, name: str) -> list[_Value]:
    """What stands in a column, the commonest first."""
    return _grouped(lines, identifier(name), known_sql(name))


def _grouped(lines: Lines, text: str, known: str) -> list[_Value]:
    found = lines.connection.execute(
        f"SELECT CASE WHEN {known} IS NOT NULL THEN {text} END AS text, count(*) AS lines, "
        f"sum(CAST({lines.amount} AS DECIMAL(18, 4))), count(*) FILTER ({lines.amount} < 0) "
        f"FROM raw_rows WHERE ({lines.within}\n) GROUP BY 1 ORDER BY lines DESC, text"
    ).fetchall()
    return [_Value(*one) for one in found]


def _told_of_values(lines: Lines, column: Column, texts: Sequence[str]) -> Undone | None:
    """The lines with some of a column's texts, all of which say that they are no sales."""
    rows = lines.counted(f"{identifier(column.name)} IN ({', '.join(map(literal, texts))})")
    if rows.lines == 0:
        return None
    undone = [one for one in _values(lines, column.name) if one.text in texts]
    listed = ", ".join(f"{one.lines:,} are {one.text!r}" for one in undone)
    keeps, of_first_line = _without(lines, column, [str(one.text) for one in undone])
    told = rows.told(lines.table.rows).partition("(")[2].removesuffix(")")
    if rows.money is None:
        told += ", 0.00"
    back = "  What was given back on them then counts as spent." if (rows.money or 0) < 0 else ""
    more = "  It then reads the first line of each order only, and so not its products." if of_first_line else ""
    everything = "  These are all lines of the file." if rows.lines == lines.table.rows else ""
    return Undone(
        f"{shown(column.name)}: of {lines.table.rows:,} order lines {listed}, {told}; they count as orders, unless you "
        f"add  --where {in_quotes(keeps)}{back}{more}{everything}",
        keeps,
    )


def _without(lines: Lines, column: Column, texts: Sequence[str]) -> tuple[str, bool]:
    """The condition that leaves out the lines with these values, and whether it reads only the first line of each order
    because only that has one."""
    name = written(column.name)
    keeps = f"{name} NOT IN ({', '.join(map(literal, texts))})"
    if column.known == lines.table.rows:
        return keeps, False
    if lines.stands_once(column.name):
        return keeps, True
    return f"{keeps} OR {name} IS NULL", False


def _filled_seldom(lines: Lines, column: Column) -> Undone | None:
    """A day, a reason or a number of a cancellation or a return, which only such lines have."""
    called_so = re.search(UNDONE_NAME, "_".join(words_of(column.name))) is not None
    is_number = column.kind == "number" and not (column.whole and "id" in hints_of(column.name))
    if not called_so or is_number or not 0 < column.known < lines.table.rows / 2:
        return None
    name, what = written(column.name), "a date" if column.kind == "date" else "something"
    told = lines.told(f"{known_sql(column.name)} IS NOT NULL")
    if not told:
        return None
    marks = lines.connection.execute(
        f"SELECT DISTINCT {identifier(column.name)} AS mark FROM raw_rows "
        f"WHERE {known_sql(column.name)} IS NULL AND {bare_sql(column.name)} <> '' ORDER BY mark"
    ).fetchall()
    keeps, more = f"{name} IS NULL", ""
    if marks:
        keeps += f" OR {name} IN ({', '.join(literal(mark) for (mark,) in marks)})"
    if lines.stands_once(lines.orders.amount):  # and so does the date
        keeps = f"{f'({keeps})' if marks else keeps} AND {written(lines.orders.amount)} IS NOT NULL"
        more = "  It then reads the first line of each order only, and so not its products."
    return Undone(
        f"{shown(column.name)}: {told} have {what} there; they count as orders, unless you add  "
        f"--where {in_quotes(keeps)}{more}",
        keeps,
    )


# --- codes ------------------------------------------------------------------------------------------------------------


def _codes(lines: Lines, column: Column, texts: Sequence[str]) -> Undone | None:
    """Values of which the file does not say what they stand for, in a column that is called a state or a type, or that
    has codes of sales and of returns."""
    alone = len(texts) < 2 and column.known == lines.table.rows
    if alone or not texts or not _may_be_codes(lines, column, {text.strip() for text in texts}):
        return None
    values = _values(lines, column.name)
    if len(values) < 2:
        return None
    likely = _likely(values)
    keeps, _ = _without(lines, column, [str(one.text) for one in likely or _rarest(values)])
    return Undone(_codes_in_words(shown(column.name), values, likely, keeps), keeps)


def _may_be_codes(lines: Lines, column: Column, texts: set[str]) -> bool:
    upper = {text.upper() for text in texts}
    called = says_what_state(column.name)
    if called == "status" and words_of(column.name)[-1:] == ("state",) and _has_addresses(lines):
        called = ""
    if called == "status":
        return _none_is_known(lines, texts)
    short = all(len(text) <= 4 for text in texts) and not (column.kind == "number" and not column.whole)
    if called == "type":
        return short or bool(upper & RETURN_CODES and upper & SALE_CODES)
    known = upper <= RETURN_CODES | SALE_CODES and bool(upper & RETURN_CODES) and bool(upper & SALE_CODES)
    return known and not set(_AS_CODES) & hints_of(column.name)


def _none_is_known(lines: Lines, texts: set[str]) -> bool:
    """Whether some value is none that says of itself that the line is a sale."""
    (unknown,) = only_row(
        lines.connection,
        f"SELECT count(*) FROM (SELECT unnest({string_list(sorted(texts))}) AS text) "
        f"WHERE NOT {_says('text', f'{DONE}|{NOT_UNDONE}')}",
    )
    return bool(unknown)


def _has_addresses(lines: Lines) -> bool:
    """Whether a state may be one of a country."""
    words = {word for name in lines.table.columns for word in words_of(name)}
    return bool(words & {"city", "zip", "country", "postcode", "postal", "region"})


def _likely(values: Sequence[_Value]) -> list[_Value]:
    """Those that are commonly returns, or are all below zero, where they are the fewer."""
    every = sum(one.lines for one in values)
    signs = {one.below == one.lines for one in values}
    below = [one for one in values if len(signs) == 2 and one.text is not None and one.below == one.lines]
    coded = [one for one in values if (one.text or "").strip().upper() in RETURN_CODES]
    found = below or [one for one in coded if one.lines < every / 2]
    return found if sum(one.lines for one in found) < every / 2 else []


def _rarest(values: Sequence[_Value]) -> list[_Value]:
    return [one for one in values if one.text is not None][-1:]


def _codes_in_words(called: str, values: Sequence[_Value], likely: Sequence[_Value], keeps: str) -> str:
    listed = ", ".join(one.told for one in values[:_MOST_LISTED])
    rest = values[_MOST_LISTED:]
    if rest:
        money = sum((one.money or Decimal(0) for one in rest), Decimal(0))
        listed += f", {sum(one.lines for one in rest):,} are others ({money:,.2f})"
    which = ", ".join(repr(one.text) for one in likely)
    advice = f"If {which} stand for no sales, add" if likely else "If some stand for no sales, name these, as in"
    return (
        f"{called}: of the order lines {listed}. What these stand for the file does not say, and all count as orders. "
        f"{advice}  --where {in_quotes(keeps)}"
    )


def _of_prefixes(lines: Lines, order: str) -> list[Undone]:
    """Numbers of orders that begin with letters of their own where they are of returns: C536379, CN-1004."""
    prefix = f"regexp_extract({known_sql(order)}, {literal(_PREFIX)})"
    sampled = lines.connection.execute(f"SELECT DISTINCT {prefix} FROM {profiled_rows(lines.connection)}").fetchall()
    letters = {str(text).upper() for (text,) in sampled if text is not None}
    if not 1 < len(letters) <= _MOST_STATES or not letters & RETURN_CODES:
        return []
    values = [one for one in _grouped(lines, prefix, known_sql(order)) if one.text is not None]
    every = sum(one.lines for one in values)
    likely = [one for one in values if (one.text or "").upper() in RETURN_CODES and one.lines < every / 2]
    if not likely or sum(one.lines for one in likely) >= every / 2:
        return []
    beginnings = ", ".join(literal(str(one.text)) for one in likely)
    keeps = f"regexp_extract({written(order)}, {literal(_PREFIX)}) NOT IN ({beginnings})"
    if lines.table.columns[order].known < lines.table.rows:
        keeps += f" OR {written(order)} IS NULL"
    called = f"{shown(order)}, by the letters before the number"
    return [Undone(_codes_in_words(called, values, likely, keeps), keeps)]
