"""The one reader of files: encodings, shapes, columns as text, columns made of others, moments in a zone."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from segment_pipeline.database.store import scratch
from segment_pipeline.errors import SourceError
from segment_pipeline.sources.files import Form, open_files
from segment_pipeline.sources.text.decoding import as_text
from segment_pipeline_tests.quickstart.test_reading import workbook
from segment_pipeline_tests.source_files import configured, load

AS_TEXT = Form(as_text=True)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def put(name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return put


def rows_of(*paths: Path, form: Form = AS_TEXT) -> list[tuple[object, ...]]:
    with scratch() as connection:
        relation = open_files(connection, [str(path) for path in paths], form=form)
        return connection.execute(f"SELECT * FROM {relation.sql} ORDER BY ALL").fetchall()


GERMAN = "Kunde;Käufe;Tag\r\nMüller;1,5;31.12.2024\r\n007;2,0;01.01.2025\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("form", [AS_TEXT, Form()], ids=["as text", "guessed"])
def test_a_file_of_any_encoding_is_the_same_to_the_monthly_reader(write, encoding, form):
    path = write("orders.csv", GERMAN, encoding)
    assert [row[:2] for row in rows_of(path, form=form)] == [("007", "2,0"), ("Müller", "1,5")]


@pytest.mark.parametrize("name", ["export", "export.dat", "export.csv", "export.csv.gz", "export.txt.gz"])
def test_what_a_file_is_called_does_not_matter(write, name):
    content = GERMAN.encode()
    path = write(name, gzip.compress(content) if name.endswith("gz") else content)
    assert rows_of(path) == [("007", "2,0", "01.01.2025"), ("Müller", "1,5", "31.12.2024")]


def test_values_stay_as_they_are_written_where_the_file_is_text(write, tmp_path):
    rows = [["007", "2024-01-05", "1.50"], ["8", "n/a", "2"]]
    written = "\n".join(",".join(row) for row in [["id", "day", "sum"], *rows])
    objects = "\n".join(json.dumps(dict(zip(("id", "day", "sum"), row, strict=True))) for row in rows)
    expected = sorted(tuple(row) for row in rows)
    assert rows_of(write("a.csv", written)) == rows_of(write("a.jsonl", objects)) == expected
    assert rows_of(workbook([["id", "day", "sum"], *rows], tmp_path / "a.xlsx")) == expected


def test_a_later_export_cannot_be_guessed_to_be_something_else(write):
    """A month in which all dates are readable, and one in which one is not, are read in the same way."""
    first, later = write("1.csv", "id,day\na,2024-01-05\n"), write("2.csv", "id,day\na,2024-01-05\nb,soon\n")
    with scratch() as connection:
        kinds = [open_files(connection, str(path), form=AS_TEXT).columns for path in (first, later)]
        guessed = [open_files(connection, str(path)).columns for path in (first, later)]
    assert kinds[0] == kinds[1] == {"id": "VARCHAR", "day": "VARCHAR"}
    assert guessed[0] != guessed[1]


def test_names_that_cannot_be_used_are_changed_in_the_same_way_each_month(write):
    path = write("orders.csv", 'id,total,total,,"order\ndate"\n1,2,3,4,5\n')
    with scratch() as connection:
        assert list(open_files(connection, str(path), form=AS_TEXT).columns) == [
            *("id", "total", "total_2", "column_4", "order date")
        ]


def test_files_are_one_by_the_names_of_their_columns(write, tmp_path):
    write("orders_1.csv", "Title\n\nid;sum\na;1\n")
    write("orders_2.csv", "sum,id\n2,b\n", "utf-16")
    last = workbook([["id", "sum"], ["c", "3"]], tmp_path / "other.xlsx")
    assert rows_of(tmp_path / "orders_*.csv", last) == [("a", "1"), ("b", "2"), ("c", "3")]
    missing = write("orders_3.csv", "id\nd\n")
    with scratch() as connection:
        relation = open_files(connection, [str(tmp_path / "orders_*.csv")], form=AS_TEXT)
    assert relation.incomplete == {"sum": str(missing)}


def test_the_separator_may_be_said_and_repeated_rows_may_count_once(write):
    path = write("orders.csv", "id:1;sum:2\na:b;3:4\na:b;3:4\n")
    assert rows_of(path, form=Form(as_text=True, separator=":")) == [("a", "b;3", "4")] * 2
    assert rows_of(path, form=Form(as_text=True, separator=":", once=True)) == [("a", "b;3", "4")]


def test_a_line_that_is_not_as_the_header_has_it_is_told_with_the_users_file(write, tmp_path):
    write("orders.csv", GERMAN + "Ößl;1;2;3;4\n", "cp1252")
    orders = {"path": "orders.csv", "as_text": True, "customer_id": "Kunde", "order_id": "Tag", "amount": "1"}
    config = configured(tmp_path, ["orders"], orders={**orders, "ordered_at": "try_strptime(Tag, '%d.%m.%Y')"})
    with pytest.raises(SourceError, match=r"orders\.csv cannot be read: .*Line: 4.*Ößl;1;2;3;4") as told:
        load(config)
    assert "segment_pipeline_" not in str(told.value)


def test_a_file_is_decoded_once_and_again_when_it_is_another(write):
    path = write("orders.csv", GERMAN, "cp1252")
    first = as_text(str(path))
    assert first == as_text(str(path))
    assert first.written == "Windows-1252"
    write("orders.csv", GERMAN + "Weiß;3,0;02.01.2025\r\n", "cp1252")
    assert len(rows_of(path)) == 3
    assert not Path(first.path).exists()
    assert as_text(str(write("plain.csv", GERMAN))).path == str(path.parent / "plain.csv")


def test_letters_at_the_end_of_a_part_are_whole(write):
    """Files are decoded in parts of a megabyte, and a letter may have several bytes."""
    for before in (0, 1, 2):
        text = f"id,name\n1,{'x' * (2**20 - 12 + before)}€ü\n2,y\n"
        assert as_text(str(write(f"{before}.csv", text))).written == "UTF-8"
        assert as_text(str(write(f"{before}.txt", text, "cp1252"))).written == "Windows-1252"


# --- columns made of others -------------------------------------------------------------------------------------------


def lines(folder: Path, source: dict[str, object] | None = None, **orders: object) -> list[dict[str, object]]:
    keys = {"path": "o.csv", "customer_id": "id", "order_id": "no", "ordered_at": "day", "amount": "sum"}
    config = configured(folder, ["orders", "total_spend"], orders={**keys, **orders}, **source or {})
    return load(config)[1]


def spent(rows: Sequence[dict[str, object]]) -> dict[object, object]:
    return {row["customer_id"]: row["total_spend"] for row in rows}


def test_columns_of_order_lines_may_be_made_of_the_files(write, tmp_path):
    write("o.csv", "id;no;day;sum\na;1;05.03.2023;1,50\nb;2;06.03.2023;-4,00\na;3;07.03.2023;2,25\n")
    number, day = "TRY_CAST(replace(sum, ',', '.') AS DOUBLE)", "try_strptime(day, '%d.%m.%Y')"
    made = {"as_text": True, "columns": {"sum": number, "day": day}}
    assert spent(lines(tmp_path, **made, where="sum > 0")) == {"a": 3.75}
    with pytest.raises(SourceError, match=r"source\.orders\.columns\.sum is 'total \* 2'; expected a column"):
        lines(tmp_path, as_text=True, columns={"sum": "total * 2"})
    with pytest.raises(SourceError, match=r"source\.orders\.where.*Cannot compare"):
        lines(tmp_path, as_text=True, amount=number, ordered_at=day, where="sum > 0")


def test_features_of_a_snapshot_may_be_made_of_its_columns(write, tmp_path):
    write("s_2023-03.csv", "Kunde;Käufe;Letzter Kauf\n 007 ;1,5;30.03.2023\n8;viele;01.03.2023\n", "cp1252")
    columns = {
        "id": "trim(Kunde)",
        "visits": "coalesce(CAST(TRY_CAST(replace(Käufe, ',', '.') AS DOUBLE) AS VARCHAR), Käufe)",
        "days": "date_diff('day', CAST(try_strptime(\"Letzter Kauf\", '%d.%m.%Y') AS DATE), as_of)",
    }
    snapshots = {"path": "s_{month}.csv", "as_text": True, "customer_id": "id", "columns": columns}
    rows = load(configured(tmp_path, ["visits", "days"], snapshots=snapshots))[1]
    found = [(row["customer_id"], row["visits"], row["days"], row["unreadable_values"]) for row in rows]
    assert found == [("007", 1.5, 2.0, {}), ("8", None, 31.0, {"visits": "viele"})]


# --- moments ----------------------------------------------------------------------------------------------------------

READ = """
import sys
from pathlib import Path
from segment_pipeline.config.config import load_config
from segment_pipeline.database.store import scratch
from segment_pipeline.months import parse_month
from segment_pipeline.sources.sources import read_customers
with scratch() as connection:
    read_customers(connection, load_config(Path(sys.argv[1])), parse_month("2023-03"))
    print(connection.execute("SELECT customer_id, orders, days_since_last_order FROM source_customers").fetchall())
"""


@pytest.mark.process
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("name", ["o.csv", "o.parquet"])
def test_a_month_begins_at_midnight_of_the_zone_that_is_said_on_every_machine(write, tmp_path, zone, name):
    """Half past eleven in the evening of 31 March in UTC is April in Berlin, and still March in New York."""
    moments = ["2023-03-31T23:30:00Z", "2023-03-31T23:30:00+05:00"]
    if name == "o.csv":
        write(name, "id,nr,day,sum\n" + "".join(f"a,{i},{moment},1\n" for i, moment in enumerate(moments)))
    else:
        at = pa.array([datetime.fromisoformat(one) for one in moments], pa.timestamp("us", tz="UTC"))
        parquet.write_table(pa.table({"id": ["a", "a"], "nr": [1, 2], "day": at, "sum": [1.0, 1.0]}), tmp_path / name)
    for said, expected in (("UTC", (2, 1)), ("America/New_York", (2, 1)), ("Europe/Berlin", (1, 1))):
        write("segmentation.yaml", CONFIGURATION % (said, name))
        command = [sys.executable, "-c", READ, str(tmp_path / "segmentation.yaml")]
        environment = {**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == f"[('a', {float(expected[0])}, {float(expected[1])})]"


CONFIGURATION = """
name: t
first_month: 2023-03
source:
  time_zone: %s
  orders: {path: %s, customer_id: id, order_id: nr, ordered_at: "CAST(day AS TIMESTAMPTZ)", amount: sum}
features: [{name: orders}, {name: days_since_last_order}]
"""


def test_a_zone_that_there_is_not_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(Exception, match=r"a time zone such as Europe/Berlin \(did you mean Europe/Berlin\?\)"):
        configured(tmp_path, ["orders"], time_zone="Europe/Berln", orders={"path": "o.csv"})


def test_a_scratch_database_spills_within_its_limit():
    with scratch("200MB") as connection:
        connection.execute("CREATE TABLE t AS SELECT i, repeat('x', 500) AS text FROM range(1_000_000) AS r(i)")
        (size,) = connection.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchone() or (0,)
    assert size < 250e6
    with pytest.raises(duckdb.Error):
        connection.execute("SELECT 1")
