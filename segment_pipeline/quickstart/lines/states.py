"""What columns of states, types, flags and codes say of order lines: cancelled, returned, not paid, a credit, a test.

Here: which columns speak of it, of how many lines and how much money, and the condition that leaves these out. Not
here: the words and codes (words.py), and money that is written in columns of its own (money.py).

A word is understood in many languages. A code is not: what CRN or 9 stands for the file does not say, so all values are
told with their lines and money, and the likeliest is put into the condition.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from segment_pipeline.column_names import hints_of, words_of
from segment_pipeline.database.quoting import as_named, identifier, literal
from segment_pipeline.errors import QuestionError
from segment_pipeline.quickstart.columns import MISSING, Column, bare_sql, known_sql, profiled_rows
from segment_pipeline.quickstart.csv_table import CURRENCY_NAME
from segment_pipeline.quickstart.lines.counting import Lines, Value, in_quotes, written
from segment_pipeline.quickstart.lines.documents import document_of, sales_told_again, says, steps_before, tells_kinds
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
_MOST_LISTED = 12
_OF_A_CUSTOMER = "it is the same on all lines of a customer, and so says nothing of an order: all of them count"
_AS_CODES = ("extra", "place", "product", "person", "price", "count")
"""What a column may be called that has codes of its own: of taxes, of sizes."""
_PREFIX = r"^[A-Za-z]+"
_SEVERAL_TIMES = "They are of the same customers and to the cent, so each sale counts several times"


@dataclass(frozen=True)
class Undone:
    """What is said of some lines. keeps : the condition that leaves them out, "" where there is none; is_sure : whether
    it is more than an example of how to write one."""

    sentence: str
    keeps: str
    is_sure: bool = True


def undone_lines(lines: Lines, where: str | None, counted: str | None) -> list[str]:
    """What every column says of lines that may be no sales, a sentence each, and the condition that leaves out all of
    them at once. where : of the user; a column that it names has been seen to. counted : that, and what is decided
    here."""
    seen_to = [name for name in lines.table.columns if where is not None and mentions(where, as_named(name))]
    columns = [column for column in lines.table.columns.values() if column.name not in seen_to]
    found = [one for column in columns for one in _said(lines, column)]
    if lines.orders.order_id is not None and lines.orders.order_id not in seen_to:
        found += _of_prefixes(lines, lines.orders.order_id)
    sentences = [one.sentence for one in found]
    advised = _together(lines, [one for one in found if one.keeps])
    if len(advised) > 1:
        sentences.append(f"to leave out all of these at once:  --where {in_quotes(all_of(counted, advised) or '')}")
    elif counted is not None and advised:
        beside = "your own condition" if where is not None else "what is left out already"
        sentences.append(f"beside {beside}:  --where {in_quotes(all_of(counted, advised) or '')}")
    return sentences


def counted_once(lines: Lines, where: str | None) -> tuple[Lines, list[Undone]]:
    """The lines without those that tell sales of others again, and what is said of each column that has such: added up,
    each sale would count several times. where : of the user; who names the column there lets count what it says.
    Raises QuestionError where no word says which value is to count."""
    found = []
    for column in lines.table.columns.values():
        if not _may_tell(lines, column) or not 1 < column.distinct <= _MOST_STATES:
            continue
        if not tells_kinds(column, _texts(lines, column.name)):
            continue
        values = lines.values(column.name)
        again = sales_told_again(lines, column.name, values)
        if again is None:
            continue
        told = ", ".join(one.told for one in values if one.text in again.others)
        if where is not None and mentions(where, as_named(column.name)):
            found.append(Undone(f"{shown(column.name)}: {told}: all count, as --where says. {_SEVERAL_TIMES}", ""))
            continue
        keeps, of_first_line = _without(lines, column, again.others if again.stays else again.others[1:])
        if again.stays is None or of_first_line:
            raise QuestionError(
                f"{lines.table.path}: {shown(column.name)} tells each sale several times, of the same customer and to "
                f"the cent: {told}; they are not added up. Say which count, as in  --where {in_quotes(keeps)}"
            )
        other = in_quotes(f"{written(column.name)} = {literal(again.others[0])}")
        found.append(
            Undone(
                f"{shown(column.name)}: sales of {again.stays!r} are told again by others, customer by customer and to "
                f"the cent. These are left out: {told}. To let others count say, for example,  --where {other}",
                keeps,
            )
        )
        lines = replace(
            lines,
            within=f"({lines.within}\n) AND ({keeps})",
            told_again={**lines.told_again, column.name: again.others},
        )
    return lines, found


def known_values(lines: Lines) -> dict[str, list[str]]:
    """What the columns of states, kinds, flags and currencies say, by their names; an empty one may come to say what
    it is called: the day of a cancellation."""
    found = {}
    for column in lines.table.columns.values():
        called = "_".join(words_of(column.name))
        flagged = re.search(f"{UNDONE_NAME}|{TEST_NAME}|{KEPT_NAME}", called) is not None
        if not _has_no_role(lines, column) or column.distinct > _MOST_STATES or column.kind == "date":
            continue
        texts = _texts(lines, column.name)
        tells = _may_be_codes(lines, column, {text.strip() for text in texts}, also_sales=True)
        if flagged or tells or tells_kinds(column, texts) or _worded(column, texts) or _is_currency(column):
            found[column.name] = list(dict.fromkeys(text.strip() for text in texts))
    return found


def _is_currency(column: Column) -> bool:
    return column.kind == "text" and CURRENCY_NAME.search(column.name) is not None


def _has_no_role(lines: Lines, column: Column) -> bool:
    of_orders = {choice.column for choice in lines.table.roles.choices} | {lines.orders.amount}
    return column.name not in of_orders and column.name not in lines.table.made


def _may_tell(lines: Lines, column: Column) -> bool:
    """Whether a column may say something of lines: it plays no role in them, and is not empty."""
    return _has_no_role(lines, column) and column.known > 0


def _together(lines: Lines, found: Sequence[Undone]) -> Sequence[Undone]:
    """Those whose conditions leave sales when all of them hold: without the examples where they do not, and none where
    nothing is left all the same."""
    for some in (found, [one for one in found if one.is_sure]):
        if len(some) < 2 or lines.counted(f"({all_of(None, some)}) AND {lines.amount} > 0").lines:
            return some
    return []


def all_of(where: str | None, found: Sequence[Undone]) -> str | None:
    """A condition and those of what was found, in one; the first as it stands where there is nothing more."""
    if not found:
        return where
    conditions = [*([where] if where else []), *(one.keeps for one in found)]
    if len(conditions) == 1:
        return conditions[0]
    ends = ("\n" if "--" in one else "" for one in conditions)  # of a comment
    return " AND ".join(f"({one}{end})" for one, end in zip(conditions, ends, strict=True))


def _said(lines: Lines, column: Column) -> list[Undone]:
    """What a column says of such lines; nothing, or one thing."""
    if not _may_tell(lines, column):
        return []
    if column.distinct > _MOST_STATES or column.kind == "date":
        found = _filled_seldom(lines, column)
    else:
        texts = _texts(lines, column.name)
        found = _of_values(lines, column, texts)
        found = found or _filled_seldom(lines, column) or _codes(lines, column, texts)
    return [found] if found is not None else []


# --- flags and words --------------------------------------------------------------------------------------------------


def _texts(lines: Lines, name: str) -> list[str]:
    """The different texts of a column that stand for something, as they are written there, but those that are left
    out."""
    text, out = identifier(name), lines.told_again.get(name, ())
    found = lines.connection.execute(f"SELECT text FROM (SELECT DISTINCT {text} AS text FROM raw_rows) ORDER BY text")
    known = [text for (text,) in found.fetchall() if text is not None and text.strip().casefold() not in MISSING]
    return [text for text in known if text not in out]


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


def _worded(column: Column, texts: Sequence[str]) -> list[str]:
    """Those that are words for what was cancelled or came back."""
    if column.kind != "text":
        return []
    return [text for text in texts if says(text, UNDONE) and not says(text, NOT_UNDONE)]


def _of_values(lines: Lines, column: Column, texts: Sequence[str]) -> Undone | None:
    """What a column says of lines by its values: by words, by the kind of document, by their sign."""
    flagged = _flagged(column, texts)
    if flagged:
        is_test = re.search(TEST_NAME, "_".join(words_of(column.name))) is not None
        return _told_of_values(lines, column, lines.values(column.name), flagged, of_customer=not is_test)
    undone, of_kinds = _worded(column, texts), tells_kinds(column, texts)
    if not undone and not of_kinds:
        return None
    values = lines.values(column.name)
    steps = steps_before(values) if of_kinds else []
    documents = of_kinds and any(document_of(text) for text in texts)
    below = [str(one.text) for one in _all_below(values)] if undone or steps or documents else []
    wrong = _without_the_sale(values, {*undone, *steps, *below})
    if wrong:
        return _told_of_values(lines, column, values, wrong, of_customer=not of_kinds and not below)
    several = len({document_of(text) for text in texts} - {""}) > 1
    if undone or steps or (several and says_what_state(column.name) == "type"):
        return _told_as_codes(lines, column, values)
    return None


def _without_the_sale(values: Sequence[Value], texts: set[str]) -> list[str]:
    """The texts but the one that has most of the money, where no other says of itself that it is a sale: a credit is
    what a bank calls what came in."""
    gained = sum((one.gained for one in values), Decimal(0))
    others = [one for one in values if one.text is not None and one.text not in texts and one.gained > 0]
    if any(says(one.text or "", DONE) or document_of(one.text or "") for one in others):
        return [one.text for one in values if one.text in texts]
    return [one.text for one in values if one.text in texts and not one.gained > gained / 2]


def _all_below(values: Sequence[Value]) -> list[Value]:
    """Those all of whose lines are below zero, where others are not."""
    below = [one for one in values if one.text is not None and one.is_below]
    return below if any(one.gained > 0 for one in values) else []


def _told_of_values(
    lines: Lines,
    column: Column,
    values: Sequence[Value],
    texts: Sequence[str],
    *,
    of_customer: bool = False,
) -> Undone | None:
    """The lines with some of a column's texts, all of which say that they are no sales. of_customer : whether they may
    say it of a customer, and not of a line."""
    condition = f"{identifier(column.name)} IN ({', '.join(map(literal, texts))})"
    rows = lines.counted(condition)
    if rows.lines == 0:
        return None
    undone = [one for one in values if one.text in texts]
    listed = ", ".join(f"{one.lines:,} are {one.text!r}" if len(undone) == 1 else one.told for one in undone)
    told = rows.told(lines.table.rows).partition("(")[2].removesuffix(")")
    if rows.money is None:
        told += ", 0.00"
    said = f"{shown(column.name)}: of {lines.table.rows:,} order lines {listed}, {told}"
    if of_customer and lines.of_whole_customers(condition):
        return Undone(f"{said}; {_OF_A_CUSTOMER}", "")
    keeps, of_first_line = _without(lines, column, [str(one.text) for one in undone])
    others = [one for one in values if one.text not in texts]
    is_flag = {text.strip().casefold() for text in texts} <= YES | NO
    rest = f"  The others: {_listed(others)}." if others and not is_flag else ""
    back = "  What was given back on them then counts as spent." if (rows.money or 0) < 0 else ""
    more = "  It then reads the first line of each order only, and so not its products." if of_first_line else ""
    everything = "  These are all lines of the file." if rows.lines == lines.table.rows else ""
    more = f"{rest}{back}{more}{everything}"
    return Undone(f"{said}; they count as orders, unless you add  --where {in_quotes(keeps)}{more}", keeps)


def _without(lines: Lines, column: Column, texts: Sequence[str]) -> tuple[str, bool]:
    """The condition that leaves out the lines with these values, and those that are left out already, and whether it
    reads only the first line of each order because only that has one."""
    name, texts = written(column.name), [*lines.told_again.get(column.name, ()), *texts]
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
    if lines.of_whole_customers(f"{known_sql(column.name)} IS NOT NULL"):
        return Undone(f"{shown(column.name)}: {told} have {what} there; {_OF_A_CUSTOMER}", "")
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
    values = lines.values(column.name)
    return _told_as_codes(lines, column, values) if len(values) > 1 else None


def _told_as_codes(lines: Lines, column: Column, values: Sequence[Value]) -> Undone:
    """All values, and the condition that leaves out the likeliest."""
    likely = _likely(values)
    keeps, _ = _without(lines, column, [str(one.text) for one in likely or _rarest(values)])
    return Undone(_codes_in_words(shown(column.name), values, likely, keeps), keeps, is_sure=bool(likely))


def _may_be_codes(lines: Lines, column: Column, texts: set[str], *, also_sales: bool = False) -> bool:
    """Whether a column's values may be states, or codes of them. also_sales : where all of them say of themselves that
    they are sales, too."""
    upper = {text.upper() for text in texts}
    called = says_what_state(column.name)
    if called == "status" and words_of(column.name)[-1:] == ("state",) and _has_addresses(lines):
        called = ""
    if called == "status":
        return also_sales or _some_is_unknown(texts)
    short = all(len(text) <= 4 for text in texts) and not (column.kind == "number" and not column.whole)
    if called == "type":
        return short or bool(upper & RETURN_CODES and upper & SALE_CODES)
    known = upper <= RETURN_CODES | SALE_CODES and bool(upper & RETURN_CODES) and bool(upper & SALE_CODES)
    return known and not set(_AS_CODES) & hints_of(column.name)


def _some_is_unknown(texts: set[str]) -> bool:
    """Whether some value is none that says of itself that the line is a sale."""
    return not all(says(text, f"{DONE}|{NOT_UNDONE}") for text in texts)


def _has_addresses(lines: Lines) -> bool:
    """Whether a state may be one of a country."""
    words = {word for name in lines.table.columns for word in words_of(name)}
    return bool(words & {"city", "zip", "country", "postcode", "postal", "region"})


def _likely(values: Sequence[Value]) -> list[Value]:
    """Those that are commonly returns, or are all below zero, where they are the fewer."""
    every = sum(one.lines for one in values)
    below = _all_below(values)
    coded = [one for one in values if (one.text or "").strip().upper() in RETURN_CODES]
    found = below or [one for one in coded if one.lines < every / 2]
    return found if sum(one.lines for one in found) < every / 2 else []


def _rarest(values: Sequence[Value]) -> list[Value]:
    return [one for one in values if one.text is not None][-1:]


def _listed(values: Sequence[Value]) -> str:
    listed = ", ".join(one.told for one in values[:_MOST_LISTED])
    rest = values[_MOST_LISTED:]
    if rest:
        money = sum((one.money or Decimal(0) for one in rest), Decimal(0))
        listed += f", {sum(one.lines for one in rest):,} are others ({money:,.2f})"
    return listed


def _codes_in_words(called: str, values: Sequence[Value], likely: Sequence[Value], keeps: str) -> str:
    which = ", ".join(repr(one.text) for one in likely)
    advice = f"If {which} stand for no sales, add" if likely else "If some stand for no sales, name these, as in"
    return (
        f"{called}: of the order lines {_listed(values)}. What these stand for the file does not say, and all count as "
        f"orders. {advice}  --where {in_quotes(keeps)}"
    )


def _of_prefixes(lines: Lines, order: str) -> list[Undone]:
    """Numbers of orders that begin with letters of their own where they are of returns: C536379, CN-1004."""
    prefix = f"regexp_extract({known_sql(order)}, {literal(_PREFIX)})"
    sampled = lines.connection.execute(f"SELECT DISTINCT {prefix} FROM {profiled_rows(lines.connection)}").fetchall()
    letters = {str(text).upper() for (text,) in sampled if text is not None}
    if not 1 < len(letters) <= _MOST_STATES or not letters & RETURN_CODES:
        return []
    values = [one for one in lines.grouped(prefix, known_sql(order)) if one.text is not None]
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
