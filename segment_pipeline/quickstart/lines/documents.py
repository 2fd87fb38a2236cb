"""Kinds of documents and steps that a column of types tells: orders, deliveries, invoices and payments of the same
sale, views and carts before it, promises, bills of suppliers.

Here: which kind a text calls, and which values of a column tell sales that another of its values tells as well. Not
here: what is said of it (states.py), and the words (words.py).

That a payment or an order is no sale its name does not say: where a shop exports nothing else it is the sale. It is
judged by the orders: one customer's, of the same amount.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from segment_pipeline.database.quoting import identifier, string_list
from segment_pipeline.quickstart.columns import NEARLY_ALL, Column
from segment_pipeline.quickstart.lines.counting import Lines, Value
from segment_pipeline.quickstart.lines.words import DOCUMENTS, NO_SALE_KINDS, STAYS, says_what_state

_SALES, _DIFFERENT = 20, 10
"""Orders that two values have in common, and different totals among them, from which on that is no chance."""


def says(text: str, pattern: str) -> bool:
    """Whether a text has the pattern in it, as it stands or without accents."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return any(re.search(pattern, one.replace("_", " "), re.IGNORECASE) for one in (text, plain))


def document_of(text: str) -> str:
    """The kind of document that a text calls, a key of DOCUMENTS; "" where none."""
    return next((kind for kind, called in DOCUMENTS.items() if says(text, called)), "")


def tells_kinds(column: Column, texts: Sequence[str]) -> bool:
    """Whether a column tells what kind of line or document each is: it is called a type, or calls several kinds and
    is not called something else."""
    if column.kind != "text" or not texts:
        return False
    called = says_what_state(column.name)
    of_documents = [text for text in texts if document_of(text) or says(text, NO_SALE_KINDS)]
    kinds = {document_of(text) for text in of_documents}
    return called == "type" or (called != "status" and len(kinds) > 1 and len(of_documents) > len(texts) / 2)


def steps_before(values: Sequence[Value]) -> list[str]:
    """Texts of what is no sale by its kind: a view, a pledge, a bill of a supplier."""
    return [one.text for one in values if one.text is not None and says(one.text, NO_SALE_KINDS)]


@dataclass(frozen=True)
class Repeats:
    """Values that tell the same sales. stays : the one that is to count, where their words say which; others : those
    that tell its sales again, or come with it and cost nothing."""

    stays: str | None
    others: tuple[str, ...]


def sales_told_again(lines: Lines, name: str, values: Sequence[Value]) -> Repeats | None:
    """What tells the same sales in a column of kinds; None where nothing does."""
    texts = [one.text for one in values if one.text is not None and one.gained > 0]
    same = _same_sales(lines, name, texts) if len(texts) > 1 else []
    if not same:
        return None
    # those that are the same as the commonest pair's, from one to the next
    group = set(same[0])
    while more := {text for pair in same if group & set(pair) for text in pair} - group:
        group |= more
    ranked = sorted((text for text in group if document_of(text)), key=lambda text: STAYS.index(document_of(text)))
    undecided = len(ranked) > 1 and document_of(ranked[0]) == document_of(ranked[1])
    if not ranked or undecided:
        return Repeats(None, tuple(text for text in texts if text in group))
    free = {one.text for one in values if one.text is not None and document_of(one.text) and not one.money}
    others = (group | free) - {ranked[0]}
    return Repeats(ranked[0], tuple(one.text for one in values if one.text is not None and one.text in others))


def _same_sales(lines: Lines, name: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of values of which nearly every order of the one is there with the other, of the same customer and
    amount; of both, where their words do not say that they are different documents."""
    found = lines.connection.execute(
        f"""
        WITH orders AS (
            SELECT {identifier(name)} AS value, {lines.customer} AS customer,
                sum(CAST({lines.amount} AS DECIMAL(18, 2))) AS total
            FROM raw_rows WHERE {identifier(name)} IN (SELECT unnest({string_list(texts)})) AND ({lines.within}\n)
            GROUP BY value, customer, {lines.order}
        ),
        totals AS (SELECT value, customer, total, count(*) AS times FROM orders WHERE total <> 0 GROUP BY ALL),
        sums AS (SELECT value, sum(times) AS orders FROM totals GROUP BY value)
        SELECT one.value, other.value, sum(least(one.times, other.times)) AS common, count(DISTINCT one.total),
            any_value(sums.orders), any_value(of_other.orders)
        FROM totals AS one JOIN totals AS other USING (customer, total)
            JOIN sums ON sums.value = one.value JOIN sums AS of_other ON of_other.value = other.value
        WHERE one.value < other.value GROUP BY one.value, other.value ORDER BY common DESC, one.value, other.value
        """
    ).fetchall()
    pairs = []
    for one, other, common, different, of_one, of_other in found:
        are_different = document_of(one) != document_of(other) and document_of(one) and document_of(other)
        of = min(of_one, of_other) if are_different else max(of_one, of_other)
        if common >= max(_SALES, NEARLY_ALL * of) and different >= _DIFFERENT:
            pairs.append((one, other))
    return pairs
