"""From the first look to every month: what init leaves reads the shop's exports as they come, each month."""

import csv
import gzip
import io
import json
import re
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from segment_pipeline.cli.commands import quickstart_command
from segment_pipeline.cli.main import main
from segment_pipeline.config.config import load_config
from segment_pipeline.errors import SourceError
from segment_pipeline.months import add_months, as_of, parse_month
from segment_pipeline_tests.commands import Commands
from segment_pipeline_tests.quickstart import exports
from segment_pipeline_tests.quickstart.test_reading import workbook
from segment_pipeline_tests.shop import query
from segment_pipeline_tests.source_files import load

Lines = list[tuple[str, int, datetime, float, str]]
MARCH, APRIL = parse_month("2024-03"), parse_month("2024-04")


def lines(months: int, seed: int = 11) -> Lines:
    """Order lines of a shop's first months of 2024: customer, order, moment, amount, product. The first months are the
    same however many there are."""
    found: Lines = []
    for month in range(months):
        random = np.random.default_rng([seed, month])
        for customer in range(700):
            often = (0.3, 1.0, 3.0)[customer % 3]
            for _ in range(random.poisson(often)):
                at = datetime(2024, month + 1, 1) + timedelta(seconds=int(random.integers(0, 29 * 86_400)))
                order = 10_000 + len(found)
                found += [
                    (
                        f"00{customer}",
                        order,
                        at,
                        round(float(np.exp(random.normal(2.5 + customer % 3 / 3, 0.5))), 2),
                        f"P{p}",
                    )
                    for p in random.integers(0, 40, 1 + random.poisson(0.7))
                ]
    return sorted(found, key=lambda line: line[2])


def by_hand(of: Lines, month: str) -> pd.DataFrame:
    """What each customer's orders, spend and days since the last order are at the end of the month, by pandas."""
    end = pd.Timestamp(as_of(parse_month(month)))
    frame = pd.DataFrame(of, columns=["customer_id", "order", "at", "amount", "product"])
    frame = frame[(frame["at"] >= pd.Timestamp(add_months(as_of(parse_month(month)), -3))) & (frame["at"] < end)]
    grouped = frame.groupby("customer_id")
    days = (end - grouped["at"].max().dt.normalize()).dt.days
    return pd.DataFrame({"orders": grouped["order"].nunique(), "spend": grouped["amount"].sum().round(2), "days": days})


def published(project: Path, month: str) -> pd.DataFrame:
    rows = query(
        project / "data" / "warehouse.duckdb",
        "SELECT customer_id, orders, round(total_spend, 2), days_since_last_order FROM raw_customers "
        f"WHERE month = DATE '{month}-01'",
    )
    return pd.DataFrame(rows, columns=["customer_id", "orders", "spend", "days"]).set_index("customer_id")


def assert_same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found.sort_index(), expected.sort_index(), check_dtype=False, check_index_type=False)


def text_of(header: Sequence[str], rows: Sequence[Sequence[object]], separator: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows([header, *rows])
    return text.getvalue()


def german(of: Lines, path: Path) -> None:
    header = ["Kundennummer", "Bestellnummer", "Bestelldatum", "Artikel", "Gesamtbetrag €"]
    rows = [[who, no, f"{at:%d.%m.%Y}", what, f"{amount:.2f}".replace(".", ",")] for who, no, at, amount, what in of]
    path.write_bytes(text_of(header, rows, ";").encode("cp1252"))


def excel(of: Lines, path: Path) -> None:
    rows = [[who, no, at.isoformat(" "), amount, what] for who, no, at, amount, what in of]
    workbook([["customer_id", "order_id", "order_date", "total", "sku"], *rows], path)


def shopify(of: Lines, path: Path) -> None:
    """The fields of an order stand on its first line, and moments say how far they are from UTC: winter time in
    January, summer time from 31 March on."""
    header = ["Name", "Email", "Financial Status", "Total", "Created at", "Lineitem sku", "Lineitem price", "Notes"]
    frame = pd.DataFrame(of, columns=["who", "no", "at", "amount", "what"])
    total = frame.groupby("no")["amount"].sum().round(2)
    rows = []
    for place, (who, no, at, amount, what) in enumerate(of):
        first = place == 0 or of[place - 1][1] != no
        utc = at - timedelta(hours=2 if at >= datetime(2024, 3, 31, 2) else 1)
        moment = f"{utc:%Y-%m-%d %H:%M:%S} +0000"
        fields = ["paid", f"{total[no]:.2f}"] if first else ["", ""]
        rows.append([f"#{no}", f"c{who}@example.org", *fields, moment, what, f"{amount:.2f}", ""])
    path.write_text(text_of(header, rows, ","))


SYSTEMS = {
    "shopify": "orders export.csv",
    "woocommerce": "wc orders.csv",
    "magento": "export_orders.csv.gz",
    "stripe": "unified payments.csv",
    "olist items": "items.parquet",
    "sap": "sap export.xlsx",
    "datev": "Buchungen (alle).csv",
    "klaviyo": "events.jsonl",
    "online retail": "Online Retail.csv",
    "swiss": "Umsätze & Kunden.csv",
    "raiser's edge": "gift's.csv",
    "rakuten": "注文.csv",
}
"""Exports after public descriptions, and the file that each comes as."""


def put_export(name: str, path: Path) -> None:
    header, rows, _ = exports.export(name)
    if path.suffix == ".xlsx":
        workbook([header, *rows], path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows, columns=header).to_parquet(path)
    else:
        text = text_of(header, rows, ";" if name in ("datev", "swiss") else ",")
        encoded = text.encode({"rakuten": "cp932", "datev": "cp1252"}.get(name, "utf-8"))
        path.write_bytes(gzip.compress(encoded) if path.suffix == ".gz" else encoded)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_project_reads_the_next_export_of_a_known_system_as_it_comes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, project = tmp_path / SYSTEMS[name], tmp_path / "my shop"
    known = exports.lines()

    def until(month: str) -> None:
        of = [line for line in known if line["at"] < datetime.combine(as_of(parse_month(month)), datetime.min.time())]
        monkeypatch.setattr(exports, "lines", lambda: of)
        put_export(name, file)

    until("2025-03")
    flags = ["--window-months", "12", "--features", "orders,total_spend,days_since_last_order"]
    assert main(["init", str(project), "--from", str(file), *flags]) == 0
    monkeypatch.chdir(project)
    assert main(["check"]) == 0
    config = load_config(Path("data/segmentation.yaml").absolute())
    for month in ("2025-03", "2025-04"):
        until(month)
        expected = exports.truth(name, as_of(parse_month(month)))
        found = {
            row["customer_id"]: (row["orders"], round(row["total_spend"], 2), row["days_since_last_order"])
            for row in load(config, parse_month(month))[1]
        }
        assert {who: of for who, of in found.items() if who} == {
            who: (orders, pytest.approx(spend), days) for who, (orders, spend, days) in expected.items()
        }


Write = Callable[[Lines, Path], None]


@pytest.mark.parametrize(
    ("first", "later", "given", "put", "flags"),
    [
        ("Bestellungen 2024.csv", "Bestellungen 2024.csv", "Bestellungen 2024.csv", german, ()),
        ("orders.xlsx", "orders.xlsx", "orders.xlsx", excel, ()),
        ("orders_1.csv", "orders_2.csv", "orders_*.csv", shopify, ("--time-zone", "Europe/Berlin")),
    ],
    ids=["German CSV", "Excel", "Shopify, a file a month"],
)
def test_the_next_export_is_dropped_in_as_it_comes(
    commands: Commands, tmp_path: Path, first: str, later: str, given: str, put: Write, flags: tuple[str, ...]
) -> None:
    exports, project = tmp_path / "the exports", tmp_path / "my shop"
    exports.mkdir()
    put(lines(3), exports / first)
    said = ("--segments", "2..2", "--features", "orders,average_order_value,days_since_last_order", *flags)
    made = commands.start("init", str(project), "--from", str(exports / given), *said).wait()
    assert made.code == 0, made
    assert "as it comes" in (text := (project / "README.md").read_text().replace("\n", " ")) or "as they come" in text
    assert {file.name for file in (project / "data").iterdir()} == {"segmentation.yaml", "dagster_home"}
    run = ("run", "--config", str(project / "data" / "segmentation.yaml"), "--quiet", "--months")
    assert commands.start(*run, "2024-03").wait().code == 0
    if later == first:
        put(lines(4), exports / later)
    else:
        put(lines(4)[len(lines(3)) :], exports / later)
    ended = commands.start(*run, "2024-04").wait()
    assert ended.code == 0, ended
    for month in ("2024-03", "2024-04"):
        expected = by_hand(lines(4), month)
        if put is shopify:
            expected.index = pd.Index([f"c{who}@example.org" for who in expected.index], name="customer_id")
        assert_same(published(project, month), expected)


def plainly(
    of: Lines, path: Path, day: str = "%Y-%m-%d %H:%M:%S", mark: str = ".", columns: Sequence[int] = (0, 1, 2, 3, 4)
) -> None:
    """The lines with their columns in an order, beside one that nobody asked for where it has the place 5."""
    names = ("customer_id", "order_id", "ordered_at", "total", "sku", "note")
    rows = [(who, no, f"{at:{day}}", f"{amount:.2f}".replace(".", mark), sku, "x") for who, no, at, amount, sku in of]
    path.write_text(text_of([names[i] for i in columns], [[row[i] for i in columns] for row in rows], ","))


@pytest.mark.parametrize("day", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%A, %B %d, %Y", "%d%b%Y:%H:%M:%S"])
def test_an_export_with_its_columns_in_another_order_and_more_of_them_is_read(tmp_path: Path, day: str) -> None:
    file = tmp_path / "orders.csv"
    plainly(lines(3), file, day)
    assert main(["init", str(tmp_path / "shop"), "--from", str(file)]) == 0
    config = load_config(tmp_path / "shop" / "data" / "segmentation.yaml")
    plainly(lines(4), file, day, columns=(5, 4, 3, 2, 1, 0))
    rows = load(config, APRIL)[1]
    found = {row["customer_id"]: (row["orders"], round(row["total_spend"], 2)) for row in rows}
    assert found == {who: (one.orders, one.spend) for who, one in by_hand(lines(4), "2024-04").iterrows()}


@pytest.mark.parametrize("before", ["%Y-%m-%d %H:%M:%S", "%m/%d/%Y"])
def test_dates_that_are_written_in_another_way_next_month_stop_it_and_are_no_other_days(
    tmp_path: Path, before: str
) -> None:
    file = tmp_path / "orders.csv"
    plainly(lines(3), file, before)
    assert main(["init", str(tmp_path / "shop"), "--from", str(file)]) == 0
    plainly(lines(4), file, "%d.%m.%Y")
    with pytest.raises(SourceError, match=r"has no order line in 2024-04.*date"):
        load(load_config(tmp_path / "shop" / "data" / "segmentation.yaml"), APRIL)


def test_amounts_with_another_decimal_mark_next_month_are_told_and_are_no_other_amounts(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    plainly(lines(3), file)
    assert main(["init", str(tmp_path / "shop"), "--from", str(file)]) == 0
    plainly(lines(4), file, mark=",")
    counts, rows = load(load_config(tmp_path / "shop" / "data" / "segmentation.yaml"), APRIL)
    assert [part.lines for part in counts.parts if part.reason == "no readable amount"] == [
        sum(datetime(2024, 2, 1) <= at for *_, at, _, _ in lines(4))
    ]
    assert {row["total_spend"] for row in rows} == {None}


def test_a_project_of_the_version_before_goes_on(tmp_path: Path) -> None:
    """It had a converted copy of the export, and a mapping of its columns that cast them to text."""
    german(lines(3), tmp_path / "export.csv")
    text = (tmp_path / "export.csv").read_text(encoding="cp1252").replace('"', "")
    rows = [line.replace(",", "§").replace(";", ",") for line in text.splitlines()]
    copy = "\n".join(re.sub(r"([^,]*§[^,]*)", r'"\1"', row) for row in rows).replace("§", ",")
    (tmp_path / "order_lines.csv").write_text(copy)
    (tmp_path / "segmentation.yaml").write_text(VERSION_BEFORE)
    found = {
        row["customer_id"]: (row["orders"], row["total_spend"])
        for row in load(load_config(tmp_path / "segmentation.yaml"), MARCH)[1]
    }
    expected = by_hand(lines(3), "2024-03")
    assert found == {who: (row.orders, pytest.approx(row.spend)) for who, row in expected.iterrows()}


VERSION_BEFORE = r"""
name: bestellungen
first_month: 2024-03
source:
  window_months: 3
  orders:
    path: "order_lines.csv"
    customer_id: Kundennummer
    order_id: Bestellnummer
    ordered_at: "try_strptime(CAST(\"Bestelldatum\" AS VARCHAR), '%d.%m.%Y')"
    amount: "TRY_CAST(replace(regexp_replace(CAST(\"Gesamtbetrag €\" AS VARCHAR), '€', ''), ',', '.') AS DOUBLE)"
    product_id: Artikel
features: [{name: orders}, {name: total_spend}]
"""


def test_a_project_of_customers_takes_the_next_export_under_the_name_of_its_month(commands, tmp_path):
    def put(path: Path, seed: int, last: datetime) -> None:
        random = np.random.default_rng(seed)
        rows = []
        for i in range(800):
            orders = int(random.poisson((2, 8, 20)[i % 3])) + 1
            spent = f"{float(np.exp(random.normal((3, 4, 5)[i % 3], 0.4))) * orders:,.2f} €"
            seen = last - timedelta(days=int(random.gamma(2, (40, 10, 3)[i % 3])))
            rows.append([f"00{i}", orders, spent.translate(str.maketrans(",.", ".,")), f"{seen:%d.%m.%Y}"])
        path.write_bytes(text_of(["Kunde", "Käufe", "Umsatz", "Letzter Kauf"], rows, ";").encode("cp1252"))

    put(tmp_path / "kunden.csv", 1, datetime(2024, 3, 31))
    made = commands.start("init", str(tmp_path / "p"), "--from", str(tmp_path / "kunden.csv"), "--segments", "2..3")
    assert made.wait().code == 0
    data = tmp_path / "p" / "data"
    assert (data / "customers_2024-03.csv").read_bytes() == (tmp_path / "kunden.csv").read_bytes()
    put(data / "customers_2024-04.csv", 2, datetime(2024, 4, 30))
    config = load_config(data / "segmentation.yaml")
    months = [load(config, month)[1] for month in (MARCH, APRIL)]
    frame = pd.read_csv(data / "customers_2024-04.csv", sep=";", encoding="cp1252", dtype=str)
    found = {row["customer_id"]: row["Käufe"] for row in months[1]}
    assert found == {who: float(orders) for who, orders in zip(frame["Kunde"], frame["Käufe"], strict=True)}
    assert all(min(row["days_since_Letzter Kauf"] for row in rows) == 1 for rows in months)
    assert all(not row["unreadable_values"] for rows in months for row in rows)


def test_a_project_begins_with_the_first_month_of_enough_customers(commands, tmp_path):
    few = [line for line in lines(6) if line[2] >= datetime(2024, 3, 1) or int(line[0]) < 300]
    german(few, tmp_path / "orders.csv")
    made = commands.start("init", str(tmp_path / "p"), "--from", str(tmp_path / "orders.csv")).wait()
    assert made.code == 0, made
    config = load_config(tmp_path / "p" / "data" / "segmentation.yaml")
    enough = [month for month in ("2024-03", "2024-04", "2024-05", "2024-06") if len(by_hand(few, month)) >= 500]
    assert config.first_month == parse_month(enough[0])
    assert config.last_month is None


def test_a_project_that_begins_too_early_says_when_it_might_begin(commands, tmp_path):
    few = [line for line in lines(5) if line[2] >= datetime(2024, 4, 1) or int(line[0]) < 200]
    german(few, tmp_path / "orders.csv")
    assert commands.start("init", str(tmp_path / "p"), "--from", str(tmp_path / "orders.csv")).wait().code == 0
    file = tmp_path / "p" / "data" / "segmentation.yaml"
    begins = load_config(file).first_month
    file.write_text(file.read_text().replace(f"first_month: {begins:%Y-%m}", "first_month: 2024-03"))
    ended = commands.start("run", "--config", str(file), "--quiet", "--months", "2024-03").wait()
    assert ended.code == 1
    assert f"Or begin with {begins:%Y-%m}, which has enough (first_month)" in ended.err


def test_the_printed_command_carries_the_flags_and_can_be_pasted(commands, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    german(lines(3), tmp_path / "my orders.csv")
    said = ("--where", '"Gesamtbetrag €" > 0', "--segments", "2..3", "--window-months", "2", "--decimal", ",")
    ended = commands.start("quickstart", str(tmp_path / "my orders.csv"), *said, "--out", str(tmp_path / "o")).wait()
    assert ended.code == 0, ended
    (line,) = re.findall(r"segment-pipeline (init my_project .*)", ended.out)
    arguments = shlex.split(line)
    assert sorted(arguments[4:]) == sorted(said)
    assert arguments[:3] == ["init", "my_project", "--from"]
    assert arguments[3].endswith("my orders.csv")
    made = commands.start("init", str(tmp_path / "p"), "--from", str(tmp_path / "my orders.csv"), *arguments[4:]).wait()
    assert made.code == 0, made
    config = load_config(tmp_path / "p" / "data" / "segmentation.yaml")
    assert config.source.orders is not None
    assert config.source.orders.where == '"Gesamtbetrag €" > 0'
    assert list(config.source.orders.columns) == ["Gesamtbetrag €"]
    assert config.source.window_months == 2


def files_of_a_shop(folder: Path) -> tuple[Lines, pd.DataFrame]:
    """Orders, products and sessions, the last from February on; returns the lines and the sessions."""
    of = lines(4)
    rows = [[who, no, at.isoformat(" "), amount, what] for who, no, at, amount, what in of]
    (folder / "orders.csv").write_text(text_of(["customer_id", "order_id", "ordered_at", "total", "sku"], rows, ","))
    products = [[f"P{p}", ("baby", "cleaning", "books")[p % 3], p] for p in range(40)]
    (folder / "products.csv").write_text(text_of(["sku", "department", "weight"], products, ","))
    random = np.random.default_rng(3)
    visits = [
        [f"00{random.integers(700)}", datetime(2024, 2, 1) + timedelta(minutes=int(random.integers(0, 89 * 1440)))]
        for _ in range(4000)
    ]
    sessions = pd.DataFrame(visits, columns=["customer", "started_at"])
    sessions.to_csv(folder / "sessions.csv", index=False)
    return of, sessions


def test_init_takes_in_what_lies_beside_the_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of, sessions = files_of_a_shop(tmp_path)
    asked = ["--from", str(tmp_path / "orders.csv"), "--products", str(tmp_path / "products.csv")]
    asked += ["--events", f"sessions={tmp_path / 'sessions.csv'}"]
    assert main(["init", str(tmp_path / "shop"), *asked]) == 0
    told = capsys.readouterr().out
    assert "by sku: their category is department  (--category)" in told
    assert "the customer is customer, the date started_at" in told
    assert "segment-pipeline features" in told
    config = load_config(tmp_path / "shop" / "data" / "segmentation.yaml")
    assert config.first_month == APRIL, "the sessions begin in February, and a window has three months"
    assert main(["check", "--config", str(config.path)]) == 0
    _, rows = load(config, APRIL)
    counted = sessions[sessions["started_at"] < pd.Timestamp(2024, 5, 1)].groupby("customer").size()
    customers = {who for who, _, at, *_ in of if at >= datetime(2024, 2, 1)}
    assert {row["customer_id"]: row["sessions"] for row in rows} == {
        who: float(counted.get(who, 0)) for who in customers
    }
    assert {feature.name for feature in config.features if feature.use == "portrait"} == {
        "sessions",
        "days_since_sessions",
    }


def test_init_says_what_it_lacks_of_a_file_beside_the_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files_of_a_shop(tmp_path)
    orders, products = tmp_path / "orders.csv", tmp_path / "products.csv"

    def refused(*flags: str) -> str:
        assert main(["init", str(tmp_path / "shop"), *flags]) == 2
        assert not (tmp_path / "shop").exists()
        return capsys.readouterr().err

    products.write_text("sku,weight\nP1,3\n")
    said = refused("--from", str(orders), "--products", str(products))
    assert "which column is the category is not clear; there are sku, weight. Name it: --category COLUMN" in said
    said = refused("--from", str(orders), "--events", f"visits={products}")
    assert "which column is the customer is not clear; there are sku, weight." in said
    assert "name it: --from FILE" in refused("--products", str(products))
    assert "name that: --products FILE" in refused("--from", str(orders), "--category", "weight")
    people = tmp_path / "customers.csv"
    people.write_text("customer_id,orders,spend\n" + "".join(f"{i},{i % 7},{i % 31}\n" for i in range(400)))
    said = refused("--from", str(people), "--products", str(products))
    assert "has one row per customer" in said


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("exports/*.csv", "exports"),
        ("exports/*.csv.gz", "exports"),
        ("*.csv", "customers"),
        ("orders_*.csv.gz", "orders"),
        ("v1.2.csv", "v1.2"),
        (".csv", "customers"),
    ],
)
def test_no_folder_is_hidden_or_called_after_an_ending(monkeypatch, given, folder):
    seen = []
    monkeypatch.setattr("segment_pipeline.quickstart.command.quickstart", seen.append)
    monkeypatch.setattr("segment_pipeline.cli.commands._request", lambda chosen, out: out)
    quickstart_command(type("Chosen", (), {"files": [Path(given)], "out": None})())
    assert seen == [Path(f"{folder}_segments")]
