"""From a CSV that nobody has described to segments: what is found out, what is left in the folder, what is refused."""

import csv
import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pytest
from rich.console import Console

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config, parse_config
from segment_pipeline.config.starter_file import starter_text
from segment_pipeline.errors import InputError
from segment_pipeline.quickstart.messages import print_plan
from segment_pipeline.quickstart.plan import Plan, explore
from segment_pipeline.quickstart.request import Request
from segment_pipeline_tests.commands import Commands, Finished
from segment_pipeline_tests.shop import order_lines, query

HEADER = ("customer_id", "recency_days", "orders", "average_order_value", "total_spend")
Rows = list[tuple[object, ...]]


def customers(count: int = 900, seed: int = 5) -> Rows:
    """Two habits, far apart: few small orders long ago, many large ones of late."""
    random = np.random.default_rng(seed)
    regular = np.arange(count) % 2 == 0
    recency = np.ceil(np.exp(random.normal(np.where(regular, 2.0, 4.5), 0.5)))
    orders = 1 + random.poisson(np.exp(random.normal(np.where(regular, 2.5, 0.5), 0.4)))
    average = np.round(np.exp(random.normal(np.where(regular, 4.2, 3.0), 0.4)), 2)
    return [
        (f"K{i}", int(recency[i]), int(orders[i]), float(average[i]), round(float(orders[i] * average[i]), 2))
        for i in range(count)
    ]


def invoices() -> Rows:
    """The shop's order lines as an American would export them, half a year that ends with June 2023."""
    lines = order_lines(customers=320)
    return [
        (order, customer, f"{at:%m/%d/%Y}", product, 2, f"${amount * 100:,.2f}")
        for customer, order, at, amount, product in zip(*lines.values(), strict=True)
    ]


INVOICES = ("invoice_no", "customer_id", "invoice_date", "product_id", "quantity", "unit_price")


def as_csv(header: Sequence[str], rows: Rows, delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write(name, text or bytes, encoding)`: a file in a folder of its own."""

    def put(name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return put


def find_out(path: Path, **given: object) -> Plan:
    with duckdb.connect() as connection:
        return explore(connection, Request(path, path.parent / "out", **given))


def names(plan: Plan) -> list[str]:
    return [one.name for one in plan.proposal.features]


# --- the whole way ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished]:
    """A quickstart on customers of whom some are unreadable, and its folder. Read it only."""
    folder = tmp_path_factory.mktemp("quickstart")
    rows = customers()
    rows[3] = ("K3", "n/a", 4, 20.0, 80.0)
    rows[5] = ("K5", 12, 4, "NaN", 80.0)
    rows[7] = ("<script>", 40, 2, 20.0, 40.0)
    rows[-1] = rows[0]
    (folder / "my customers.csv").write_text(as_csv(HEADER, rows))
    out = folder / "out"
    ended = commands.start(
        *("quickstart", str(folder / "my customers.csv"), "--out", str(out), "--segments", "2..4"),
        environment={"DAGSTER_HOME": str(folder / "production")},
    ).wait()
    assert ended.code == 0, ended
    return out, ended


def test_every_accepted_customer_has_a_probability_per_segment(finished):
    out, _ = finished
    with (out / "customers_with_probabilities.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 900 - 4  # two without a number, one twice
    assert "<script>" in {row["customer_id"] for row in rows}
    columns = [name for name in rows[0] if re.fullmatch(r"probability_\d+", name)]
    assert len(columns) >= 2
    for row in rows:
        assert sum(float(row[name]) for name in columns) == pytest.approx(1, abs=1e-9)
        assert float(row[f"probability_{row['segment_id']}"]) == pytest.approx(float(row["max_probability"]))
        assert row["tier"] in ("dominant", "hybrid", "diffuse", "leaning")


def test_the_known_habits_are_found(finished):
    out, _ = finished
    found = query(out / "segments.duckdb", "SELECT customer_id, segment_id FROM monthly_assignments")
    by_habit = [{s for c, s in found if c.startswith("K") and int(c[1:]) % 2 == habit} for habit in (0, 1)]
    counts = [
        [sum(s == one for c, s in found if c[0] == "K" and int(c[1:]) % 2 == h) for one in (1, 2)] for h in (0, 1)
    ]
    assert by_habit[0] | by_habit[1] >= {1, 2}
    assert np.argmax(counts[0]) != np.argmax(counts[1])


def test_what_it_says_is_what_it_found_and_did(finished):
    _, ended = finished
    for shown in (
        r"900 rows, separated by commas, UTF-8 +\(--sep\)",
        r"one row per customer, told apart by customer_id +\(--customer-id\)",
        r"^  recency_days +log1p, in steps of 1 ",
        r"^  total_spend: it repeats others: total_spend = ",
        r"1 rows repeat a customer",
        r"^id +segment +customers +share +recency days +orders +average order value$",
        r"^\d +\S.* +\d+ +\d+\.\d %( +[\d.,]+){3}$",
        r"^2 of 900 rows are of customers who have several rows: left out$",
        r"^Each of these customers, with the reason, is in the table rejected_customers\.$",
        r"^Suitability +[a-z -]+: \S",
        r"segmentation\.yaml",
    ):
        assert re.search(shown, ended.out, re.MULTILINE), shown
    assert "\x1b" not in ended.out
    assert ended.err == ""


def test_the_run_is_an_ordinary_month_of_its_own_dagster_instance(finished):
    out, _ = finished
    assert (out / "dagster_home" / "history" / "runs.db").exists() or any((out / "dagster_home").iterdir())
    assert not (out.parent / "production").exists()
    assert query(out / "segments.duckdb", "SELECT count(*) FROM model_versions") == [(1,)]


def test_the_configuration_that_it_leaves_runs_again_to_the_same_rows(finished, commands, tmp_path):
    out, _ = finished
    assert load_config(out / "segmentation.yaml").feature_names == ("recency_days", "orders", "average_order_value")
    checked = commands.start("check", "--config", str(out / "segmentation.yaml")).wait()
    assert (checked.code, checked.err) == (0, "")
    assert "fine" in checked.out
    for file in out.iterdir():
        if file.suffix in (".yaml", ".csv"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    again = commands.start("run", "--config", str(tmp_path / "segmentation.yaml"), "--quiet").wait()
    assert again.code == 0, again
    rows = "SELECT customer_id, segment_id, probabilities FROM monthly_assignments ORDER BY 1"
    assert query(out / "segments.duckdb", rows) == query(tmp_path / "segments.duckdb", rows)


def test_a_command_in_the_folder_that_it_leaves_needs_no_config(finished, monkeypatch, capsys):
    out, _ = finished
    monkeypatch.chdir(out)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{out / 'segmentation.yaml'}: fine.")


def test_a_projects_own_file_goes_before_one_in_the_folder(finished, monkeypatch, capsys, tmp_path):
    out, _ = finished
    for name in ("segmentation.yaml", "data/segmentation.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((out / "segmentation.yaml").read_text())
        for data in out.glob("customers_*.csv"):
            (tmp_path / name).with_name(data.name).write_bytes(data.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'data' / 'segmentation.yaml'}: fine.")


def test_a_folder_that_is_not_its_own_is_left_alone(finished, commands, tmp_path, write):
    out, _ = finished
    source = str(write("customers.csv", as_csv(HEADER, customers())))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    foreign = commands.start("quickstart", source, "--out", str(tmp_path / "mine")).wait()
    assert_refused(foreign, "quickstart did not make", "--out")
    assert sorted(os.listdir(tmp_path / "mine")) == ["notes.txt"]
    changed = tmp_path / "changed"
    changed.mkdir()
    text = (out / "segmentation.yaml").read_text().replace("seed: 42", "seed: 43")
    (changed / "segmentation.yaml").write_text(text)
    assert_refused(
        commands.start("quickstart", source, "--out", str(changed)).wait(), "was changed since", "run --config"
    )
    file = commands.start("quickstart", source, "--out", source).wait()
    assert_refused(file, "is a file", "--out")


def assert_refused(ended: Finished, *parts: str) -> None:
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err
    for part in parts:
        assert part in ended.err, ended.err


# --- what it refuses --------------------------------------------------------------------------------------------------

CONSTANT = [(f"x{i}", 1, 2) for i in range(600)]
WORDS = [(f"x{i}", f"name {i}") for i in range(600)]

UNUSABLE = {
    "empty.csv": ("", "is empty"),
    "blank.csv": ("\n\n", "is empty"),
    "header.csv": ("id,a,b\n", "no row below it"),
    "one_column.csv": ("id\n1\n2\n", "one column"),
    "words.csv": (as_csv(("id", "name"), WORDS), "no column of numbers"),
    "twice.csv": (as_csv(HEADER, customers() * 2), "900 customers in 1,800 rows"),
    "book.csv": (b"PK\x03\x04" + bytes(100), "Excel"),
    "binary.csv": (bytes(range(256)) * 40, "binary"),
    "constant.csv": (as_csv(("id", "a", "b"), CONSTANT), "a: it is 1 for every customer"),
    "ragged.csv": (as_csv(HEADER, customers()) + "1,2,3,4,5,6,7,8\n", "Line: 902"),
    "no_header.csv": (as_csv(("1", "2", "3"), [(i, i % 7, i % 5) for i in range(600)]), "has no header"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason_and_what_to_do(write, name):
    content, reason = UNUSABLE[name]
    path = write(name, content)
    with pytest.raises(InputError) as refused:
        find_out(path)
    assert reason in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"customer_id": "nobody"}, "--customer-id nobody: .*customers.csv has no such column. It has customer_id, "),
        ({"features": ["orders", "colour"]}, "--features 'colour'"),
        ({"transforms": {"colour": "log"}}, "--transform 'colour'"),
        ({"amount": "customer_id"}, "--amount customer_id: found words; expected numbers"),
        ({"ordered_at": "orders"}, "--date orders: found number; expected dates"),
        ({"month": date(2199, 1, 1)}, "--month 2199-01 is not over yet"),
    ],
)
def test_a_flag_that_cannot_be_met_is_named(write, given, reason):
    path = write("customers.csv", as_csv(HEADER, customers()))
    with pytest.raises(InputError, match=reason):
        find_out(path, **given)


def test_on_the_command_line_a_refusal_is_one_message_and_exit_code_2_and_leaves_nothing(commands, write, tmp_path):
    source = write("thirty.csv", as_csv(HEADER, customers(30)))
    for arguments, part in (
        ((str(tmp_path / "missing.csv"),), "does not exist"),
        ((str(tmp_path),), "is a folder"),
        ((str(source), "--segments", "9..3"), "from 2 to 50"),
        ((str(source), "--covariance", "full,round"), "some of full,diagonal,tied,spherical"),
        ((str(source), "--transform", "orders=sqrt"), "none of none, log, log1p, logit"),
    ):
        ended = commands.start("quickstart", *arguments, "--out", str(tmp_path / "out")).wait()
        assert_refused(ended, part)
    assert not (tmp_path / "out").exists()


def test_customers_without_structure_get_groups_by_rule_and_every_candidate_on_a_line(commands, write, tmp_path):
    values = np.exp(np.random.default_rng(3).normal(0, 1, (600, 4))).round(3)
    rows = [(f"K{i}", *map(float, row)) for i, row in enumerate(values)]
    source = write("noise.csv", as_csv(("customer_id", "aa", "bb", "cc", "dd"), rows))
    out = tmp_path / "out"
    ended = commands.start("quickstart", str(source), "--out", str(out), "--segments", "5..7").wait()
    assert ended.code == 0, ended
    assert ended.err == ""
    lines = ended.out[ended.out.index("No trustworthy mixture was found, and nothing was published.") :].splitlines()
    _, why, _, header, *candidates, _, following = lines[:9]
    assert re.search(
        r"of 3 numbers of segments tried, none may serve; all its components together describe one group \(3\)", why
    )
    assert header.split()[:4] == ["segments", "BIC", "stability", "smallest"]
    assert [line.split()[0] for line in candidates] == ["5", "6", "7"]
    assert "--features" in following
    assert not (out / "segments.duckdb").exists()
    assert len((out / "customers_by_rule.csv").read_text().splitlines()) == 601


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(commands, write, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    source = write("customers.csv", as_csv(HEADER, customers()))
    ended = commands.start("quickstart", str(source), "--out", str(tmp_path / "closed" / "out")).wait()
    assert_refused(ended, "cannot be written")


def test_a_file_in_the_way_of_the_folder_is_refused(commands, write, tmp_path):
    source = write("customers.csv", as_csv(HEADER, customers()))
    ended = commands.start("quickstart", str(source), "--out", str(source / "out")).wait()
    assert_refused(ended, "--out")


# --- what it finds out ------------------------------------------------------------------------------------------------


def test_few_customers_are_taken_with_a_warning(write):
    plan = find_out(write("few.csv", as_csv(HEADER, customers(300))))
    console = Console(record=True, width=200, file=io.StringIO())
    print_plan(plan, console)
    assert "300 customers are few" in console.export_text()
    assert parse_config(starter_text(plan.starter), Path("x.yaml")).quality.min_customers == 100


def test_a_table_from_a_german_spreadsheet_is_read_as_it_is_meant(write):
    rows = [
        (f"Müller {i}", f"{orders}", f"{spend * 100:,.2f} €".translate(str.maketrans(",.", ".,")), recency)
        for i, (_, recency, orders, _, spend) in enumerate(customers())
    ]
    path = write("kunden.csv", as_csv(("Kunde", "Käufe", "Umsatz", "Tage"), rows, ";"), "cp1252")
    plan = find_out(path)
    assert (plan.table.separator, plan.table.decimal, plan.table.encoding) == (";", ",", "Windows-1252")
    assert [column.kind for column in plan.table.columns.values()] == ["text", "number", "number", "number"]
    with duckdb.connect() as connection:
        plan = explore(connection, Request(path, path.parent))
        largest = connection.execute(f"SELECT max({plan.columns['Umsatz']}) FROM raw_rows").fetchone()
    assert largest == (max(round(row[4] * 100, 2) for row in customers()),)
    assert plan.table.columns["Umsatz"].unit == "EUR"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(write, ends):
    plan = find_out(write("customers.csv", as_csv(HEADER, customers()).replace("\n", ends)))
    assert (plan.table.rows, tuple(plan.table.columns)) == (900, HEADER)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1"])
def test_letters_are_the_same_in_every_encoding(write, encoding):
    """\x81 is no letter in Windows-1252; UTF-16 is told by the mark that it begins with."""
    rows = [(f"Größe\x81{i}" if encoding == "latin-1" else f"Größe {i}", *row[1:]) for i, row in enumerate(customers())]
    text = as_csv(("müller", *HEADER[1:]), rows)
    content = b"\xfe\xff" + text.encode(encoding) if encoding == "utf-16-be" else text.encode(encoding)
    path = write("customers.csv", content)
    with duckdb.connect() as connection:
        table = explore(connection, Request(path, path.parent)).table
        found = {row[0] for row in connection.execute("SELECT müller FROM raw_rows").fetchall()}
    assert table.customer_id == "müller"
    assert found == {row[0] for row in rows}


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("%Y-%m-%d", "ISO 8601"),
        ("%Y-%m-%d %H:%M:%S", "ISO 8601"),
        ("%Y-%m-%dT%H:%M:%SZ", "ISO 8601"),
        ("%d/%m/%Y", "%d/%m/%Y"),
        ("%m/%d/%Y", "%m/%d/%Y"),
        ("%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M"),
        ("%b %d, %Y", "%b %d, %Y"),
        ("%Y%m%d", "%Y%m%d"),
        ("%s", "seconds since 1970"),
    ],
)
def test_dates_are_read_in_the_way_they_are_written(write, form, found):
    days = [date(2023, 1, 1) + timedelta(int(day)) for day in np.random.default_rng(1).integers(0, 500, 900)]
    rows = [
        (row[0], row[2], f"{(day - date(1970, 1, 1)).days * 86400}" if form == "%s" else day.strftime(form))
        for row, day in zip(customers(), days, strict=True)
    ]
    plan = find_out(write("customers.csv", as_csv(("id", "orders", "last_visit_date"), rows)))
    column = plan.table.columns["last_visit_date"]
    assert (column.date_format, column.first, column.last) == (found, min(days), max(days))
    assert names(plan) == ["orders", "days_since_last_visit"]
    assert plan.month == max(days).replace(day=1)


def test_a_day_and_a_month_that_could_be_either_are_told_apart_by_their_span_and_said_to_be_in_doubt(write):
    rows = [(row[0], row[2], row[3], f"{1 + i % 12:02}/03/2024") for i, row in enumerate(customers())]
    plan = find_out(write("customers.csv", as_csv(("id", "orders", "value", "last_seen"), rows)))
    column = plan.table.columns["last_seen"]
    assert (column.date_format, column.ambiguous) == ("%d/%m/%Y", True)
    assert any("other way round" in guess for guess in plan.guesses)
    american = find_out(plan.table.path, date_format="%m/%d/%Y").table.columns["last_seen"]
    assert (american.first, american.last) == (date(2024, 1, 3), date(2024, 12, 3))


def test_percentages_become_shares_and_accountants_negatives_are_negative(write):
    random = np.random.default_rng(4)
    rows = [
        (row[0], row[2], f"{random.integers(1, 99)}%", f"({row[3]})" if i % 3 else f"{row[3]}")
        for i, row in enumerate(customers())
    ]
    path = write("customers.csv", as_csv(("id", "orders", "mobile", "balance"), rows))
    with duckdb.connect() as connection:
        plan = explore(connection, Request(path, path.parent))
        low, high = connection.execute(
            f"SELECT min({plan.columns['balance']}), max({plan.columns['mobile']}) FROM raw_rows"
        ).fetchone()
    assert low < 0
    assert high <= 1
    assert plan.table.columns["mobile"].unit == "share"
    assert next(one for one in plan.proposal.features if one.name == "balance").low is None


def test_order_lines_are_told_from_customers_and_segmented_by_the_pipelines_own_features(write):
    plan = find_out(write("orders.csv", as_csv(INVOICES, invoices())))
    orders = plan.table.orders
    assert orders is not None
    assert (
        plan.table.customer_id,
        orders.date,
        orders.amount,
        orders.quantity,
        orders.order_id,
        orders.product_id,
    ) == (*("customer_id", "invoice_date", "unit_price", "quantity", "invoice_no", "product_id"),)
    assert plan.month == date(2023, 6, 1)
    assert {"days_since_last_order", "orders", "average_order_value"} <= set(names(plan))
    assert "total_spend" not in names(plan)
    config = parse_config(starter_text(plan.starter), plan.table.path.parent / "out" / "segmentation.yaml")
    assert config.source.orders is not None
    assert config.source.orders.path == ("../orders.csv",)
    assert config.source.window_months == 6


@pytest.mark.parametrize("called", ["customer", "Client", "kunde", "buyer", "household", "account", "user"])
def test_whose_order_it_is_may_be_said_in_one_word(write, called):
    header = tuple(called if name == "customer_id" else name for name in INVOICES)
    plan = find_out(write("orders.csv", as_csv(header, invoices())))
    assert (plan.table.customer_id, plan.table.orders is not None) == (called, True)


def test_order_lines_that_nobody_placed_are_refused_in_terms_of_order_lines(write):
    header = tuple("shop" if name == "customer_id" else name for name in INVOICES if name not in ("product_id",))
    rows = [(order, customer, at, 2, price) for order, customer, at, _, _, price in invoices()]
    with pytest.raises(InputError, match=r"a date .invoice_date. and an amount .unit_price. as order lines do.*--cust"):
        find_out(write("orders.csv", as_csv(header, rows)))


def with_states() -> tuple[tuple[str, ...], Rows]:
    """The invoices of which every tenth was cancelled and every twentieth came back, with a negative quantity."""
    rows = invoices()
    for i, (order, customer, at, product, quantity, price) in enumerate(rows):
        state = "Returned" if i % 20 == 1 else "cancelled" if i % 10 == 0 else "ok"
        rows[i] = (order, customer, at, product, -quantity if state == "Returned" else quantity, price, state)
    return (*INVOICES, "order_status"), rows


def test_cancelled_lines_and_negative_ones_are_counted_and_said_with_the_where_to_write(write):
    header, rows = with_states()
    plan = find_out(write("orders.csv", as_csv(header, rows)))
    (states,) = plan.warnings
    negative = next(one for one in plan.guesses if "below zero" in one)
    returned, cancelled = (sum(row[-1] == state for row in rows) for state in ("Returned", "cancelled"))
    assert f"of {len(rows):,} order lines {cancelled:,} are 'cancelled' (" in states
    assert f"), {returned:,} are 'Returned' (-" in states
    assert """--where "order_status NOT IN ('cancelled', 'Returned')\"""" in states
    assert negative.startswith(f"{returned:,} of {len(rows):,} order lines (")
    back = sum(row[4] * Decimal(re.sub("[$,]", "", row[5])) for row in rows if row[-1] == "Returned")
    assert f"({back:,.2f}) are used with an amount below zero: they count as orders" in negative
    console = Console(record=True, width=200, file=io.StringIO())
    print_plan(plan, console)
    assert "To know" in console.export_text()


def test_where_leaves_lines_out_of_the_features_and_stands_in_the_configuration(write):
    header, rows = with_states()
    path = write("orders.csv", as_csv(header, rows))
    where = "order_status NOT IN ('cancelled', 'Returned')"
    plan = find_out(path, where=where)
    assert plan.warnings == []
    [negative] = [one for one in plan.guesses if "below zero" in one]
    assert negative.startswith("of what where leaves out, ")
    left_out = sum(row[-1] != "ok" for row in rows)
    assert any(one.startswith(f"{left_out:,} of {len(rows):,} order lines (") for one in plan.guesses)
    config = parse_config(starter_text(plan.starter), path.parent / "out" / "segmentation.yaml")
    assert config.source.orders is not None
    assert config.source.orders.where == where
    assert any(where in guess for guess in plan.guesses)
    kept = write("kept.csv", as_csv(header, [row for row in rows if row[-1] == "ok"]))
    assert plan.proposal.features == find_out(kept).proposal.features


def test_a_where_that_cannot_be_met_is_named(write):
    path = write("orders.csv", as_csv(INVOICES, invoices()))
    with pytest.raises(InputError, match=r"--where 'colour = 1'"):
        find_out(path, where="colour = 1")
    with pytest.raises(InputError, match="--where is for order lines"):
        find_out(write("customers.csv", as_csv(HEADER, customers())), where="orders > 1")


def test_a_project_says_why_it_looks_back_less_far_than_a_quickstart(write):
    path = write("orders.csv", as_csv(INVOICES, invoices()))
    with duckdb.connect() as connection:
        monthly = explore(connection, Request(path, path.parent / "out"), monthly=True)
        asked = explore(connection, Request(path, path.parent / "out", window_months=6), monthly=True)
    assert any("orders of 3 months" in guess and "quickstart" in guess and "6" in guess for guess in monthly.guesses)
    assert names(asked) == names(find_out(path))
    assert not any("quickstart" in guess for guess in asked.guesses)


def test_what_the_user_says_goes_before_what_was_found(write):
    path = write("customers.csv", as_csv(HEADER, customers()))
    plan = find_out(
        path,
        features=["ORDERS", "total_spend"],
        transforms={"orders": "none"},
        resolutions={"total_spend": 1.0},
        month=date(2020, 2, 1),
        segments=(3, 5),
        covariance=["full", "diagonal"],
        hurdle=("orders", 1.0),
        memory_limit="2GB",
        seed=9,
    )
    config = parse_config(starter_text(plan.starter), path)
    assert [(one.name, one.transform, one.resolution) for one in config.features] == [
        ("orders", "none", 1.0),
        ("total_spend", "log1p", 1.0),
    ]
    assert config.first_month == config.last_month == date(2020, 2, 1)
    assert (config.model.n_components, config.model.max_segments, config.model.seed) == ((3, 5), 5, 9)
    assert config.model.covariance_types == ("full", "diagonal")
    assert config.operation.memory_limit == "2GB"
    assert config.model.hurdle is not None
    assert (config.model.hurdle.feature, config.model.hurdle.value) == ("orders", 1.0)


def test_columns_may_be_called_anything(commands, write, tmp_path):
    header = ('cust "id"', "<script>alert(1)</script>", "prob,ability", "tier", "Größe 🛒", "tier", "")
    rows = [(c, r, o, a, r, "x", i % 7) for i, (c, r, o, a, _) in enumerate(customers(600))]
    path = write("we'ird [1] {month}.csv", as_csv(header, rows))
    ended = commands.start("quickstart", str(path), "--out", str(tmp_path / "o [u]t"), "--segments", "2..3").wait()
    assert ended.code == 0, ended
    assert "renamed: tier -> tier_in_file" in ended.out
    assert "<script>alert(1)</script>" in ended.out
    features = load_config(tmp_path / "o [u]t" / "segmentation.yaml").feature_names
    assert "tier" not in features
    assert (
        len(query(tmp_path / "o [u]t" / "segments.duckdb", "SELECT DISTINCT segment_id FROM monthly_assignments")) >= 2
    )


# --- a project --------------------------------------------------------------------------------------------------------


def test_a_project_from_order_lines_runs(commands, write, tmp_path):
    path = write("orders.csv", as_csv(INVOICES, invoices()))
    project = tmp_path / "shop"
    made = commands.start("init", str(project), "--from", str(path), "--segments", "2..4").wait()
    assert made.code == 0, made
    assert {"workspace.yaml", "README.md", ".gitignore", "data"} == set(os.listdir(project))
    assert (project / ".gitignore").read_text().splitlines()[:2] == ["data/*", "!data/*.yaml"]  # customers' files
    config = load_config(project / "data" / "segmentation.yaml")
    assert config.source.orders is not None
    assert (config.first_month, config.source.window_months) == (date(2023, 3, 1), 3)
    run = ("run", "--config", str(config.path), "--quiet", "--months", "2023-03")
    ended = commands.start(*run).wait()
    assert ended.code == 0, ended
    assert query(config.published_path, "SELECT DISTINCT month FROM monthly_assignments") == [(date(2023, 3, 1),)]


def test_a_project_from_customers_takes_one_file_a_month(commands, write, tmp_path):
    path = write("customers.csv", as_csv(HEADER, customers()))
    made = commands.start("init", str(tmp_path / "p"), "--from", str(path), "--month", "2024-05").wait()
    assert made.code == 0, made
    config = load_config(tmp_path / "p" / "data" / "segmentation.yaml")
    assert config.source.snapshots is not None
    assert config.source.snapshots.path == "customers_{month}.csv"
    assert (tmp_path / "p" / "data" / "customers_2024-05.csv").exists()


def test_a_project_without_data_is_an_example_to_fill_in_and_nothing_is_overwritten(commands, tmp_path):
    assert commands.start("init", str(tmp_path / "p")).wait().code == 0
    text = (tmp_path / "p" / "data" / "segmentation.yaml").read_text()
    assert load_config(tmp_path / "p" / "data" / "segmentation.yaml").source.orders is not None
    (tmp_path / "p" / "data" / "segmentation.yaml").write_text(text + "# mine\n")
    again = commands.start("init", str(tmp_path / "p")).wait()
    assert_refused(again, "is there already")
    assert (tmp_path / "p" / "data" / "segmentation.yaml").read_text().endswith("# mine\n")


@pytest.mark.process
def test_on_a_terminal_init_asks_for_the_file_and_the_features(write, tmp_path):
    write("customers.csv", as_csv(HEADER, customers(200)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "init", "p"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path) as process:
        os.close(theirs)
        read_until(ours, "for an example")
        os.write(ours, b"customers.csv\n")
        read_until(ours, "Segment by")
        os.write(ours, b"orders,recency_days\n")
        read_until(ours, "switch on")
    os.close(ours)
    assert process.returncode == 0
    assert load_config(tmp_path / "p" / "data" / "segmentation.yaml").feature_names == ("recency_days", "orders")


def read_until(terminal: int, text: str) -> None:
    seen = ""
    while text not in seen:
        seen += os.read(terminal, 4096).decode(errors="replace")
