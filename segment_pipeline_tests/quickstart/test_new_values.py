"""What first comes in a later month of a project: a state, a flag, a currency, a name for guests. It is told by name,
with the key that decides, and by nothing but what `init` has written."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path

import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.store import Warehouse, prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.over_time.contents import definition_of
from segment_pipeline.sources.over_time.values import new_values_in_words
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline_tests.quickstart.reading import HEADER, Rows, as_csv, shop
from segment_pipeline_tests.quickstart.test_states import money

Write = Callable[..., Path]
OCTOBER, NOVEMBER = date(2024, 10, 1), date(2024, 11, 1)
FLAGS = ("--features", "orders,total_spend,days_since_last_order", "--window-months", "3")


def of_november(rows: Rows) -> Rows:
    return [row for row in rows if isinstance(row[2], datetime) and row[2].month == 11]


def until_october(rows: Rows) -> Rows:
    return [row for row in rows if isinstance(row[2], datetime) and row[2].month < 11]


def project(write: Write, header: Sequence[str], rows: Rows, later: Rows, *flags: str) -> Config:
    """A project that `init` made of the rows, whose export has grown since."""
    file = write("orders.csv", as_csv(header, rows))
    folder = file.parent / "shop"
    assert main(["init", str(folder), "--from", str(file), *FLAGS, *flags]) == 0
    config = load_config(folder / "data" / "segmentation.yaml")
    assert said(config, OCTOBER) == []
    write("orders.csv", as_csv(header, [*rows, *later]))
    return config


def said(config: Config, month: date) -> list[str]:
    """What the month tells of what is new in it."""
    with Warehouse(config.warehouse_path, 5, "1GB", 2).transaction() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        load_raw_customers(connection, config, month)
        return new_values_in_words(connection, config, month)


@pytest.mark.parametrize(
    ("column", "usual", "new"),
    [
        ("Status", "paid", "chargeback"),
        ("Financial Status", "paid", "partially_refunded"),
        ("Belegart", "RE", "GU"),
        ("is_cancelled", "0", "1"),
        ("Cancelled at", "", "2024-11-20"),
        ("Currency", "EUR", "JPY"),
        ("Zustand", "geliefert", "storniert"),
        ("Document Type", "Sales invoice", "Purchase Invoice"),
        ("Refunded amount", "0.00", "12.50"),
    ],
)
def test_a_value_that_first_comes_in_a_later_month_is_told(write: Write, column: str, usual: str, new: str) -> None:
    rows = [[*row, usual] for row in until_october(shop())]
    later = [[*row, new if i % 5 == 0 else usual] for i, row in enumerate(of_november(shop()))]
    config = project(write, [*HEADER, column], rows, later)
    (told,) = said(config, NOVEMBER)
    of = [row for row in later if row[4] == new]
    assert told.startswith(f"{column}: order lines of the month: {len(of)} are {new!r} ({money(of)}), which was not")
    assert "source.orders.where" in told
    # who says that they are sales, and who leaves them out, is not told again
    path = config.path
    text = path.read_text()
    known = next(
        line
        for line in text.splitlines()
        if line.strip().startswith(("known_values", f"{column}:", f'"{column}":')) and "[" in line
    )
    listed = known.replace("[]", f'["{new}"]') if "[]" in known else known.replace("[", f'["{new}", ')
    path.write_text(text.replace(known, listed))
    assert said(load_config(path), NOVEMBER) == []
    assert definition_of(load_config(path)) == definition_of(config)  # the same lines: no month has to be run again
    where = f"    where: \"coalesce(\\\"{column}\\\", '') <> '{new}'\"\n"
    path.write_text(text.replace("    known_values:", f"{where}    known_values:"))
    assert said(load_config(path), NOVEMBER) == []


def test_what_says_nothing_of_sales_is_not_looked_at(write: Write) -> None:
    header = [*HEADER, "Country", "Product", "Note", "Payment method"]
    rows = [[*row, "DE", f"P{i % 9}", "", "card"] for i, row in enumerate(until_october(shop()))]
    later = [[*row, "FR", "P99", "thanks", "cash"] for row in of_november(shop())]
    assert said(project(write, header, rows, later), NOVEMBER) == []


@pytest.mark.parametrize("guest", ["Walk-in customer", "Laufkundschaft", "散客", "Consumidor Final"])
def test_a_customer_of_a_later_month_who_is_called_as_guests_are_is_told(write: Write, guest: str) -> None:
    rows = until_october(shop())
    later = [[guest if i % 12 == 0 else row[0], *row[1:]] for i, row in enumerate(of_november(shop()))]
    config = project(write, HEADER, rows, later)
    (told,) = said(config, NOVEMBER)
    of = [row for row in later if row[0] == guest]
    assert told.startswith(f"customer {guest!r}: {len(of)} orders of the month ({money(of)}), as one customer.")
    text = config.path.read_text()
    config.path.write_text(
        text.replace("    ordered_at:", f'    known_values: {{customer_id: ["{guest}"]}}\n    ordered_at:')
    )
    assert said(load_config(config.path), NOVEMBER) == []


def test_a_new_customer_with_the_orders_of_many_is_told_by_whatever_name(write: Write) -> None:
    rows = until_october(shop())
    november = of_november(shop())
    later = [[99_999 if i % 3 == 0 else row[0], *row[1:]] for i, row in enumerate(november)]
    (told,) = said(project(write, HEADER, rows, later), NOVEMBER)
    assert "99999" not in told
    assert f"who is new: {len(november[::3])} orders of the month ({money(november[::3])}), as one customer" in told


def test_amounts_that_name_a_second_currency_in_a_later_month_are_told(write: Write) -> None:
    rows = [[*row[:3], f"€{float(str(row[3])):,.2f}"] for row in until_october(shop())]
    november = of_november(shop())
    later = [[*row[:3], f"{'€$'[i % 5 == 0]}{float(str(row[3])):,.2f}"] for i, row in enumerate(november)]
    (told,) = said(project(write, HEADER, rows, later), NOVEMBER)
    euros = [row for i, row in enumerate(november) if i % 5]
    assert told.startswith(
        f"the currency in total: order lines of the month: {len(euros)} are '€' ({money(euros)}), "
        f"{len(november[::5])} are '$' ({money(november[::5])}) are added up."
    )


def test_a_column_that_a_later_export_lacks_is_told(write: Write) -> None:
    rows = [[*row, "paid"] for row in until_october(shop())]
    config = project(write, [*HEADER, "Status"], rows, [])
    write("orders.csv", as_csv(HEADER, shop()))
    assert said(config, NOVEMBER) == ["Status: the source has no such column (source.orders.known_values)"]
