"""Features of the user's own over order lines: what they are worth beside a count by hand, and what is refused."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.config.config import Config, load_config, parse_config
from segment_pipeline.errors import ConfigError
from segment_pipeline.movement.chance_lines_store import shuffle_lines
from segment_pipeline.sources.folding import fold_order_lines
from segment_pipeline.sources.order_lines import load_order_lines
from segment_pipeline.sources.own_features import check_own_features
from segment_pipeline_tests.source_files import MARCH, ORDERS, load, write

COLUMNS = {
    "customer": "VARCHAR",
    "basket": "VARCHAR",
    "bought": "TIMESTAMP",
    "paid": "DOUBLE",
    "item": "VARCHAR",
    "pieces": "INTEGER",
    "kilos": "DOUBLE",
    "value": "VARCHAR",  # a name that the pipeline uses itself
    "delivered": "DATE",
}


def lines_of_a_year(seed: int = 3, customers: int = 60, lines: int = 6000) -> list[tuple[object, ...]]:
    """Order lines before and in the window of March 2023, of many sizes of numbers."""
    rng = np.random.default_rng(seed)
    when = pd.Timestamp("2022-10-01") + pd.to_timedelta(rng.integers(0, 200 * 86400, lines), unit="s")
    return [
        (
            f"c{rng.integers(customers)}",
            f"o{number // 3}",
            str(at),
            float(np.round(rng.lognormal(2, 1), 2)),
            f"p{rng.integers(40)}",
            int(rng.integers(1, 9)),
            float(rng.lognormal(-1, 2)),
            str(rng.choice(["card", "cash"])),
            str((at + pd.Timedelta(days=int(rng.integers(1, 9)))).date()),
        )
        for number, at in enumerate(when)
    ]


def shop_with(folder: Path, own: Mapping[str, str], **more: object) -> Config:
    """A configuration that lies in its file: one feature of the built-in ones, and those of the user's own."""
    features = [{"name": "orders"}, *({"name": name, "of_lines": text, **more} for name, text in own.items())]
    content = {
        "name": "t",
        "first_month": "2023-03",
        "last_month": "2023-03",
        "source": {"orders": {**ORDERS, "path": "orders.parquet"}},
        "features": features,
    }
    path = folder / "segmentation.yaml"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return load_config(path)


OWN = {
    "night_share": "count(*) FILTER (WHERE hour(ordered_at) < 6) / count(*)",
    "cash_share": "sum(amount) FILTER (WHERE value = 'cash') / sum(amount)  -- a comment",
    "kilos_bought": "sum(kilos * pieces)",
    "kilos_a_line": "AVG(kilos) FILTER (WHERE pieces > 1)",
    "days_to_delivery": "max(date_diff('day', CAST(ordered_at AS DATE), delivered))",
    "days_since_cash": "date_diff('day', CAST(max(ordered_at) FILTER (WHERE \"value\" = 'cash') AS DATE), as_of)",
    "typical_price": "median(amount / pieces)",
    "products_again": "count(product_id) - count(DISTINCT product_id)",
    "two_kinds": "CASE WHEN bool_or(value = 'cash') AND bool_or(value = 'card') THEN 1 ELSE 0 END",
    "size_of_orders": "count(*) // count(DISTINCT order_id) + count(*) % 2",
}


def by_pandas(lines: list[tuple[object, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    frame["bought"], frame["delivered"] = pd.to_datetime(frame["bought"]), pd.to_datetime(frame["delivered"])
    end = pd.Timestamp("2023-04-01")
    frame = frame[(frame["bought"] >= "2023-01-01") & (frame["bought"] < end)]

    def one(rows: pd.DataFrame) -> pd.Series:
        cash, more, day = rows[rows["value"] == "cash"], rows[rows["pieces"] > 1], rows["bought"].dt.normalize()
        return pd.Series(
            {
                "night_share": (rows["bought"].dt.hour < 6).mean(),
                "cash_share": cash["paid"].sum() / rows["paid"].sum(),
                "kilos_bought": (rows["kilos"] * rows["pieces"]).sum(),
                "kilos_a_line": more["kilos"].mean(),
                "days_to_delivery": (rows["delivered"] - day).dt.days.max(),
                "days_since_cash": (end - cash["bought"].max().normalize()).days,
                "typical_price": (rows["paid"] / rows["pieces"]).median(),
                "products_again": len(rows) - rows["item"].nunique(),
                "two_kinds": float(rows["value"].nunique() == 2),
                "size_of_orders": len(rows) // rows["basket"].nunique() + len(rows) % 2,
            }
        )

    return frame.groupby("customer")[list(COLUMNS)].apply(one).astype(float)


def test_own_features_are_those_that_pandas_computes(tmp_path: Path) -> None:
    lines = lines_of_a_year()
    write(tmp_path / "orders.parquet", lines, COLUMNS)
    config = shop_with(tmp_path, OWN)
    check_own_features(config)
    _, rows = load(config)
    found = pd.DataFrame(rows).set_index("customer_id")[list(OWN)].astype(float)
    expected = by_pandas(lines).loc[found.index]
    assert len(found) == 60
    np.testing.assert_allclose(found.to_numpy(), expected[list(OWN)].to_numpy(), rtol=1e-9, atol=1e-9)


def test_a_sum_of_doubles_has_the_same_bits_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    lines = lines_of_a_year(customers=2, lines=20_000)
    found = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        shuffled = [lines[place] for place in np.random.default_rng(seed).permutation(len(lines))]
        write(folder / "orders.parquet", shuffled, COLUMNS)
        _, rows = load(shop_with(folder, {"k": "sum(kilos)", "m": "avg(kilos * 1e3)"}), threads=1 + seed)
        found.append([(row["customer_id"], row["k"], row["m"]) for row in rows])
    assert found[0] == found[1] == found[2]
    in_order = [sum(line[6] for line in rows if line[0] == "c0") for rows in (lines, lines[::-1])]  # type: ignore[misc]
    assert in_order[0] != in_order[1], "floating-point sums of these numbers do depend on the order"


def test_what_has_no_value_is_missing_or_what_the_file_says(tmp_path: Path) -> None:
    """A division by zero, of either kind, an empty sum, and numbers that are none."""
    at = "2023-03-02 10:00:00"
    columns = {**COLUMNS, "kilos": "DOUBLE"}
    lines = [
        ("none", "o1", at, 1.0, "p", 0, 0.0, "card", "2023-03-03"),
        ("nan", "o2", at, 1.0, "p", 2, math.nan, "cash", "2023-03-03"),
        ("fine", "o3", at, 1.0, "p", 2, 0.5, "cash", "2023-03-03"),
        ("far", "o4", at, 1.0, "p", 2, 1e300, "cash", "2023-03-03"),
    ]
    write(tmp_path / "orders.parquet", lines, columns)
    own = {
        "ratio": "count(*) / sum(pieces)",
        "whole": "8 // sum(pieces)",
        "rest": "7 % max(pieces)",
        "kilos_in_all": "sum(kilos)",
        "cash_kilos": "sum(kilos) FILTER (WHERE value = 'cash')",
    }
    _, rows = load(shop_with(tmp_path, own))
    assert {row["customer_id"]: tuple(row[name] for name in own) for row in rows} == {
        "none": (None, None, None, 0.0, None),
        "nan": (0.5, 4.0, 1.0, None, None),
        "fine": (0.5, 4.0, 1.0, 0.5, 0.5),
        "far": (0.5, 4.0, 1.0, None, None),
    }
    counts, filled = load(shop_with(tmp_path, {"ratio": own["ratio"]}, missing=9.5))
    assert counts.filled == {"ratio": 1}
    assert {row["customer_id"]: row["ratio"] for row in filled} == {"none": 9.5, "nan": 0.5, "fine": 0.5, "far": 0.5}


def test_what_fits_each_customer_is_not_asked_of_all_together(tmp_path: Path) -> None:
    write(tmp_path / "orders.parquet", lines_of_a_year(), COLUMNS)
    own = {
        "lines": "CAST(count(*) AS UTINYINT)",
        "ends": "list_sum([min(pieces), max(pieces)])",
        "same": "min(pieces) + max(pieces)",
    }
    config = shop_with(tmp_path, own)
    check_own_features(config)
    _, rows = load(config)
    assert sum(row["lines"] for row in rows) > 255  # type: ignore[misc]
    assert [row["ends"] for row in rows] == [row["same"] for row in rows]


def test_a_sum_of_enormous_numbers_is_none_and_no_end_of_the_month(tmp_path: Path) -> None:
    """Many that fit into a decimal, and whose sum would not."""
    at = "2023-03-02 10:00:00"
    lines = [("far", f"o{one}", at, 1.0, "p", 1, 9e25, "card", "2023-03-03") for one in range(9)]
    near = [("near", f"n{one}", at, 1.0, "p", 1, 9e19, "card", "2023-03-03") for one in range(9)]
    write(tmp_path / "orders.parquet", [*lines, *near], COLUMNS)
    _, rows = load(shop_with(tmp_path, {"kilos_in_all": "sum(kilos)"}))
    assert {row["customer_id"]: row["kilos_in_all"] for row in rows} == {"far": None, "near": pytest.approx(81e19)}


# what is written -> what is said of it; nothing of it may run
WRONG = {
    "amount": "amount outside of an aggregate",
    "1": "no aggregate",
    "date_diff('day', as_of, as_of)": "no aggregate",
    "round(amount, 2)": "amount outside of an aggregate",
    "sum(amount) + amount": "amount outside of an aggregate",
    "sum(amount) OVER (PARTITION BY customer_id)": "a window function",
    "row_number() OVER ()": "a window function",
    "(SELECT count(*) FROM orders)": "a subquery",
    "count(*) FILTER (WHERE amount > (SELECT 1))": "a subquery",
    "sum(amount) / (SELECT 5)": "a subquery",
    "count(*)) ; DROP TABLE raw_customers; SELECT (1": "a second statement",
    "count(*)); SELECT (count(*)": "a second statement",
    "count(*)) FROM range(3) AS t(x": "more than an expression",
    "count(*)) AS a, (sum(amount)": "several values",
    "count(*), sum(amount)": "several values",
    "count(*)) FROM other WHERE (true": "more than an expression",
    "max(product_id)": "which gives VARCHAR",
    "max(ordered_at)": "which gives TIMESTAMP",
    "bool_or(amount > 3)": "which gives BOOLEAN",
    "max(ordered_at) - min(ordered_at)": "which gives INTERVAL",
    "count(*) / 0": "a division by 0",
    "sum(amount) % 0": "a division by 0",
    "sum(amont)": "did you mean amount?",
    "sum(kilo)": "did you mean kilos?",
    "sun(amount)": "did you mean sum?",
    "sum(amount": "no SQL",
    "count(*) / NULL": "a division by 0",
    "sum(amount) / (2 - 1 - 1)": "a division by 0",
    "sum(count(*))": "count(*) within sum",
    "list(amount)": "list, which is none of the aggregates of a feature",
    "stddev(amount)": "stddev, which is none of the aggregates of a feature",
    "quantile_cont(amount, [0.5, 0.9])": "which gives DECIMAL(18,4)[]",
    "sum(CASE WHEN amount < 0 THEN 1 ELSE 'x' END)": "of whose values DuckDB says",
    "max(CAST(product_id AS INTEGER))": "Could not convert string",
    "count(*) * random()": "random(), which differs from run to run",
    "date_diff('day', max(ordered_at), now())": "now(), which differs from run to run",
    "date_diff('day', CAST(max(ordered_at) AS DATE), current_date)": "current_date, which differs from run to run",
    "sum(amount) + $extra": "a parameter",
    "count(COLUMNS(*))": "*; allowed",
    "sum('paid')": "of which DuckDB says",
    "geomean(amount)": "the macro geomean",
    "sum(*)": "argument types 'sum()'",
    "max(mod(pieces))": "argument types 'mod(INTEGER)'",
    "quantile_cont(amount, as_of)": "found 'quantile_cont(amount, as_of)'",  # not the day that stands for as_of
    "list_dot_product([1.0, 2.0], [sum(amount), 1.0])": "can not contain NULL",  # of a customer without a line
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_feature_is_told_with_its_line_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    write(tmp_path / "orders.parquet", lines_of_a_year(lines=30), COLUMNS)
    config = shop_with(tmp_path, {"fine": "count(*)", "wrong": text})
    written = config.path.read_text(encoding="utf-8").splitlines()
    line = next(number for number, one in enumerate(written, 1) if f'"of_lines": {json.dumps(text)}' in one)
    assert main(["run", "--config", str(config.path), "--quiet"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"{config.path}:{line}: features[2].of_lines: found ")
    assert "; allowed: " in said
    assert WRONG[text] in said
    assert len(said.splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"orders.parquet", "segmentation.yaml"}


def test_a_value_of_which_a_feature_cannot_be_made_is_told_with_the_feature_and_its_line(tmp_path: Path) -> None:
    """The first rows promise numbers, one far behind does not keep it."""
    at = "2023-03-02 10:00:00"
    lines = [(f"c{one}", f"o{one}", at, 1.0, f"{one}", 1, 1.0, "card", "2023-03-03") for one in range(3_000)]
    odd = ("c7", "odd", at, 1.0, "P-47", 1, 1.0, "card", "2023-03-03")
    write(tmp_path / "orders.parquet", [*lines, odd], COLUMNS)
    texts = {"fine": "count(*)", "highest": "max(CAST(product_id AS INTEGER))"}
    config = shop_with(tmp_path, texts)
    check_own_features(config)
    said = r"yaml:\d+: features\[2\]\.of_lines: found .*'P-47'.* allowed: .*TRY_CAST"
    with pytest.raises(ConfigError, match=said):
        load(config)
    load(shop_with(tmp_path, texts | {"highest": "max(TRY_CAST(product_id AS INTEGER))"}))


def test_a_feature_of_which_nobody_has_a_value_is_told_before_anybody_is_rejected(tmp_path: Path) -> None:
    write(tmp_path / "orders.parquet", lines_of_a_year(lines=300), COLUMNS)
    nothing = {"nothing": "sum(amount) / (count(*) - count(*))"}
    said = r"yaml:\d+: features\[1\]\.of_lines: found .*no value for any of the \d+ customers of 2023-03"
    config = shop_with(tmp_path, {**nothing, "fine": "count(*)"})
    with pytest.raises(ConfigError, match=said):
        load(config)
    text = config.path.read_text(encoding="utf-8")
    config.path.write_text(text.replace('"name": "nothing"', '"name": "nothing", "use": "portrait"'), encoding="utf-8")
    load(load_config(config.path))


def test_every_wrong_feature_is_told_at_once_and_by_check_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "orders.parquet", lines_of_a_year(lines=30), COLUMNS)
    config = shop_with(tmp_path, {f"f{number}": text for number, text in enumerate(WRONG)})
    assert main(["check", "--config", str(config.path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) >= len(WRONG)


@pytest.mark.parametrize("name", ["total_spend", "Total_Spend", "orders", "segment_id"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = tmp_path / "segmentation.yaml"
    content = {"name": "t", "first_month": "2023-03", "source": {"orders": {**ORDERS, "path": "o.parquet"}}}
    own = [{"name": "days_since_last_order"}, {"name": name, "of_lines": "count(*)"}]
    path.write_text(json.dumps(content | {"features": own}, indent=1), encoding="utf-8")
    assert main(["run", "--config", str(path)]) == 2
    assert "features[1].name: found " in capsys.readouterr().err


def test_a_product_needs_its_key_and_ready_made_rows_have_no_lines(tmp_path: Path) -> None:
    write(tmp_path / "orders.parquet", lines_of_a_year(lines=30), COLUMNS)
    path = shop_with(tmp_path, {"n": "count(DISTINCT product_id)"}).path
    path.write_text(
        path.read_text(encoding="utf-8").replace('"product_id": "item",', "").replace(',\n   "product_id": "item"', ""),
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"found product_id without source\.orders\.product_id"):
        check_own_features(load_config(path))
    rows = {"snapshots": {"path": "x.csv", "customer_id": "id"}}
    content = {"name": "t", "first_month": "2023-03", "source": rows}
    path.write_text(json.dumps(content | {"features": [{"name": "n", "of_lines": "count(*)"}]}), encoding="utf-8")
    with pytest.raises(
        ConfigError, match="of_lines: found a feature of order lines or events; allowed: with a source of orders"
    ):
        load_config(path)


def test_ready_made_features_may_have_a_value_for_who_has_none(tmp_path: Path) -> None:
    """Text that is no number is not nothing: it stays for the contract to reject."""
    (tmp_path / "c.csv").write_text("id,visits\na,3\nb,\nc,many\n", encoding="utf-8")
    source = {"snapshots": {"path": "c.csv", "customer_id": "id"}}
    content = {"name": "t", "first_month": "2023-03", "source": source, "output_dir": str(tmp_path)}
    content["features"] = [{"name": "visits", "missing": 0}]
    counts, rows = load(parse_config(json.dumps(content), tmp_path / "segmentation.yaml"))
    assert {row["customer_id"]: row["visits"] for row in rows} == {"a": 3, "b": 0, "c": None}
    assert counts.filled == {"visits": 1}


def test_customers_who_do_not_change_have_own_features_too(tmp_path: Path) -> None:
    """What is compared with chance is made of shuffled lines: they carry the columns that own features name, and every
    time that is told of a line moves with it. Over all of a customer's days, its copies differ in no day's contents."""
    write(tmp_path / "orders.parquet", lines_of_a_year(customers=8, lines=400), COLUMNS)
    own = {name: OWN[name] for name in ("cash_share", "kilos_bought", "days_to_delivery", "typical_price")}
    path = shop_with(tmp_path, own).path
    path.write_text(path.read_text(encoding="utf-8").replace('"source": {', '"source": {"window_months": 120,'))
    config = load_config(path)
    _, rows = load(config)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE everybody AS SELECT 'c' || range AS customer_id FROM range(8)")
        load_order_lines(connection, config, MARCH, "everybody")
        shuffle_lines(connection, MARCH, 2, seed=5)
        fold_order_lines(connection, config, "SELECT * FROM shuffled_lines", MARCH)
        columns = ", ".join(own)
        copies = connection.execute(f"SELECT customer_id, {columns} FROM source_customers ORDER BY 1").fetchall()
    assert len(copies) == 16
    expected = {row["customer_id"]: tuple(row[name] for name in own) for row in rows}
    assert [tuple(values) for _, *values in copies] == [expected[name.split("/")[0]] for name, *_ in copies]
