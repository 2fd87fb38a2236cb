"""Sources that are not what the configuration says: errors name file, column, what was found and what is expected."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from segment_pipeline.errors import ConfigError, PipelineError, SourceError
from segment_pipeline.sources.files import open_files
from segment_pipeline_tests.source_files import COLUMNS, LINES, load, orders_from, snapshots_from, write

# --- sources that are not what the configuration says -----------------------------------------------------------------


def broken(folder: Path, what: str) -> str:
    """Break the order lines in `folder`; returns the path for the configuration."""
    columns = dict(COLUMNS)
    lines: list[tuple[object, ...]] = list(LINES)
    if what == "a folder":
        (folder / "o.parquet").mkdir()
    elif what in ("0 bytes", "0 bytes in a glob"):
        write(folder / "o1.parquet", LINES)
        (folder / "o.parquet").touch()
    elif what == "not parquet":
        (folder / "o.parquet").write_text("customer,basket\n")
    elif what == "header only":
        (folder / "o.csv").write_text(",".join(COLUMNS) + "\n")
        return "o.csv"
    elif what == "ragged csv":
        rows = "".join(f"c{i},1,2023-03-01,5,p\n" for i in range(50))
        (folder / "o.csv").write_text(",".join(COLUMNS) + "\n" + rows + "c9,1,2023-03-01\n" + rows)
        return "o.csv"
    elif what == "ragged csv at once":
        (folder / "o.csv").write_text(",".join(COLUMNS) + "\nc9,1,2023-03-01\nc8,1,2023-03-01,5,p\n")
        return "o.csv"
    elif what == "damaged utf-8":
        rows = "\né,1,2023-03-01,5,p\né,2,2023-03-01,5,p".encode()
        (folder / "o.csv").write_bytes(",".join(COLUMNS).encode() + rows + b"\n\xc3,3,2023-03-01,5,p\n")
        return "o.csv"
    elif what == "open quote":
        (folder / "o.csv").write_text(",".join(COLUMNS) + '\n"a,1,2023-03-01,5,p\nb,1,2023-03-01,5,p\n')
        return "o.csv"
    elif what == "unknown ending":
        (folder / "o.dat").write_bytes(bytes(range(256)))
        return "o.dat"
    elif what == "no ending":
        (folder / "orders").write_bytes(b"SQLite format 3")
        return "orders"
    elif what == "mixed":
        write(folder / "o.parquet", LINES)
        write(folder / "o.csv", LINES)
        return "o.*"
    elif what == "column gone from one of a glob":
        write(folder / "o1.parquet", LINES)
        write(
            folder / "o2.parquet",
            [line[:3] + line[4:] for line in LINES],
            {k: v for k, v in COLUMNS.items() if k != "paid"},
        )
    elif what == "column gone":
        write(folder / "o.parquet", [(1,)], {"customer": "INTEGER"})
    elif what.startswith("type "):
        _, column, kind = what.split(" ", 2)
        columns[column] = kind
        values = {
            "VARCHAR": "text",
            "INTEGER": 5,
            "BOOLEAN": True,
            "DATE": date(2023, 3, 1),
            "INTEGER[]": [1],
            "TIME": "10:00",
        }
        position = list(COLUMNS).index(column)
        lines = [(*line[:position], values[kind], *line[position + 1 :]) for line in LINES]
        write(folder / "o.parquet", lines, columns)
    elif what == "no rows":
        write(folder / "o.parquet", [])
    elif what == "late":
        write(folder / "o.parquet", [line for line in LINES if not str(line[2]).startswith("2023-03")])
    elif what == "undated only":
        write(folder / "o.parquet", [("a", "1", None, 1.0, "p")])
    elif what.startswith("truncated"):
        write(folder / "o.parquet", LINES * 200)
        content = (folder / "o.parquet").read_bytes()
        middle = len(content) // 3
        cut = (
            content[:middle]
            if what == "truncated"
            else content[: middle // 2] + b"\x00" * middle + content[middle // 2 + middle :]
        )
        (folder / "o.parquet").write_bytes(cut)
    return "o*.parquet" if "glob" in what else "o.parquet"  # fmt: skip


BROKEN = {
    "gone": r"o\.parquet does not exist\. Deliver the data, or fix the path under `source`",
    "gone from a glob": r"o\*\.parquet matches no file\. Deliver the data",
    "a folder": r"o\.parquet is a folder; expected a file.*o\.parquet/\*\.parquet",
    "0 bytes": r"o\.parquet is empty \(0 bytes\)\. Deliver the file again",
    "0 bytes in a glob": r"/o\.parquet is empty \(0 bytes\)",
    "header only": r"o\.csv holds no rows\. Deliver the data",
    "no rows": r"o\.parquet holds no rows\. Deliver the data",
    "not parquet": r"o\.parquet (cannot be read|holds no rows).*Deliver the data",
    "truncated": r"o\.parquet cannot be read: .*Deliver the data again",
    "truncated in the middle": r"o\.parquet: reading the order lines failed: .*Deliver the data again",
    "ragged csv": r"o\.csv cannot be read: .*Line: 52; Original Line: c9,1,2023-03-01; Expected .*: 5 Found: 3",
    "ragged csv at once": r"o\.csv cannot be read: .*Line: 2; .*Expected .*: 5 Found: 3.*Fix that line",
    "damaged utf-8": r"o\.csv cannot be read: it is UTF-8 with bytes .* damaged it",
    "open quote": r"o\.csv cannot be read: .*Line: 2; .*quote.*Fix that line",
    "unknown ending": r"o\.dat is a binary file; expected text\. Save it as CSV",
    "no ending": r"orders is a SQLite database; expected a table\. Save it as CSV",
    "mixed": r"o\.\*: found files with \.csv and \.parquet; expected one kind of file only",
    "column gone": r"order_id is 'basket'; expected a column,.* over the columns customer\. Found: .*\"basket\"",
    "column gone from one of a glob": r"o2\.parquet: column paid is missing\. source\.orders\.amount expects it",
    "type paid VARCHAR": r"orders\.amount \(paid\): found VARCHAR; expected a number.*TRY_CAST\(.paid. AS DOUBLE\)",
    "type paid BOOLEAN": r"orders\.amount \(paid\): found BOOLEAN; expected a number",
    "type paid INTEGER[]": r"orders\.amount \(paid\): found INTEGER\[\]; expected a number",
    "type bought VARCHAR": r"ordered_at \(bought\): found VARCHAR; expected a date or timestamp.*AS TIMESTAMP\)",
    "type bought INTEGER": r"ordered_at \(bought\): found INTEGER; expected a date or timestamp.*to_timestamp\(",
    "type bought TIME": r"ordered_at \(bought\): found TIME; expected a date or timestamp",
    "late": r"o\.parquet has no order line in 2023-03: its lines go from 2022-11-11 to 2023-04-02\. Deliver",
    "undated only": r"no order line in 2023-03: no line has a readable date",
}


@pytest.mark.parametrize(("what", "message"), BROKEN.items(), ids=BROKEN)
def test_broken_order_lines_stop_with_file_column_found_and_expected(tmp_path: Path, what: str, message: str) -> None:
    config = orders_from(tmp_path, broken(tmp_path, what))
    with pytest.raises(SourceError, match=message) as caught:
        load(config)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "expression", "message"),
    [
        ("customer_id", "customer; DROP TABLE raw_customers", "syntax error"),
        ("customer_id", "customer) AS v FROM x; DROP TABLE raw_customers; SELECT (1", "found several"),
        ("customer_id", "customer), (basket", "found several"),
        ("customer_id", "customer)--", "syntax error"),
        ("order_id", "max(basket)", "must appear in the GROUP BY clause"),
        ("amount", "sum(paid)", "must appear in the GROUP BY clause"),
        ("amount", "paid; ", "syntax error"),
        ("amount", "'", 'source.orders.amount is "\'"; expected a column, or a SQL expression'),
        ("amount", "paid %s 😀", "syntax error"),
        ("amount", "nosuch(paid)", "nosuch"),
        ("amount", "CAST(item AS DOUBLE)", "reading the order lines failed: Conversion Error.*'p"),
        ("where", "paid", "source.orders.where .paid.: found DOUBLE; expected true or false .BOOLEAN.*comparison"),
        ("where", "true) OR (SELECT count(*) FROM raw_customers) > (0", "found the table raw_customers"),
        ("where", "true) OR (SELECT count(*) FROM range(3)) > (0", None),
        (
            "where",
            "(WITH gone AS (DELETE FROM raw_customers RETURNING 1) SELECT count(*) FROM gone) = 0",
            "found a DELETE within a query",
        ),
        ("where", "paid > $as_of", "parameter"),
        (
            "ordered_at",
            "tables",
            "expected a column, or a SQL expression over the columns customer, basket, bought, paid, item",
        ),
    ],
)
def test_expressions_are_one_expression_each(tmp_path: Path, key: str, expression: str, message: str | None) -> None:
    write(tmp_path / "o.parquet", LINES)
    config = orders_from(tmp_path, "o.parquet", **{key: expression})
    if message is None:
        load(config)
        return
    with pytest.raises(SourceError, match=message):
        load(config)
    assert load(orders_from(tmp_path, "o.parquet"))[0].rows == 5


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": "VARCHAR", "vists": "INTEGER"}, r"column visits is missing\. Expected id, visits; found id, vists"),
        ({"ID2": "VARCHAR", "visits": "INTEGER"}, r"column id is missing\. Expected id, visits; found id2, visits"),
        ({"id": "VARCHAR", "visits": "DATE"}, r"column visits: found DATE; expected a number.*days since it"),
        ({"id": "VARCHAR", "visits": "INTEGER[]"}, r"column visits: found INTEGER\[\]; expected a number"),
    ],
)
def test_broken_snapshots_stop_with_file_column_found_and_expected(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    write(tmp_path / "s.parquet", [(None, None)], columns)
    with pytest.raises(SourceError, match=rf"s\.parquet.*{message}"):
        load(snapshots_from(tmp_path, "s.parquet"))
    write(tmp_path / "s.parquet", [], columns)
    with pytest.raises(SourceError, match=r"s\.parquet holds no rows\. Deliver the data"):
        load(snapshots_from(tmp_path, "s.parquet"))


def test_a_column_gone_from_one_of_many_snapshots_is_missed(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [("a", 1)], {"id": "VARCHAR", "visits": "INTEGER"})
    write(tmp_path / "2.parquet", [("b",)], {"id": "VARCHAR"})
    with pytest.raises(
        SourceError, match=r"2\.parquet: column visits is missing; other files of .*\?\.parquet have it"
    ):
        load(snapshots_from(tmp_path, "?.parquet"))


def test_a_wide_file_is_not_listed_whole(tmp_path: Path) -> None:
    write(tmp_path / "s.parquet", [(1,) * 300], {f"c{number}": "INTEGER" for number in range(300)})
    with pytest.raises(SourceError, match=r"c38, c39 and 260 more"):
        load(snapshots_from(tmp_path, "s.parquet"))


def test_a_package_that_is_not_installed_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install no-such-shop"):
        load(orders_from(tmp_path, "package:no_such_shop/data/o.parquet"))
    with pytest.raises(PipelineError, match=r"no_such\.parquet does not exist"):
        load(orders_from(tmp_path, "package:segment_pipeline/no_such.parquet"))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Several passes over it would see two files, and their features would be of neither."""
    path = write(tmp_path / "o.parquet", LINES)
    with duckdb.connect() as connection:
        source = open_files(connection, str(path))
        source.refuse_changed()
        write(path, LINES[1:])
        with pytest.raises(SourceError, match=r"o\.parquet was changed while it was read\. Wait until it is delivered"):
            source.refuse_changed()
        path.unlink()
        with pytest.raises(SourceError, match=r"o\.parquet was changed while it was read"):
            source.refuse_changed()
