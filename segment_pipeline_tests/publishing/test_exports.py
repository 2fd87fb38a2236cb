"""Exports: the files hold what was published, a delta leads from one month to the next, and the manifest is true."""

import csv
import hashlib
import json
from datetime import date
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segment_pipeline.publishing.catalogue import PUBLISHED_TABLES
from segment_pipeline.publishing.exports import COLUMNS, UNCOMPARED, ExportError, export_month
from segment_pipeline_tests.shop import query

MARCH, APRIL, MAY, JUNE = (date(2023, month, 1) for month in (3, 4, 5, 6))
COMPARED = [name for name in COLUMNS if name not in UNCOMPARED]


def read(file: Path) -> list[tuple]:
    """Rows of a Parquet file, in the file's order."""
    return duckdb.connect().execute("FROM read_parquet(?)", [str(file)]).fetchall()


def read_csv(file: Path) -> list[list[str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.reader(lines, strict=True))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def applied(full: list[tuple], delta: list[tuple]) -> dict[str, tuple]:
    """Last month's full export after a delta: the compared columns by customer."""
    customers = {row[1]: compared(row) for row in full}
    for month, customer, change, *values in delta:
        if change == "removed":
            assert values == [None] * len(values)
            del customers[customer]
        else:
            assert (change == "changed") == (customer in customers)
            before = customers.get(customer)
            customers[customer] = compared((month, customer, *values))
            assert customers[customer] != before
    return customers


def compared(row: tuple) -> tuple:
    by_name = dict(zip(COLUMNS, row, strict=True))
    return tuple(by_name[name] for name in COMPARED)


@pytest.mark.parametrize("month", [MARCH, APRIL, MAY])
def test_a_full_export_holds_every_customer_of_the_month_as_published(three_months, tmp_path, month):
    export_month(three_months.published, "shop", folder=tmp_path, month=month)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in read(tmp_path / "customers.parquet")]
    assert [row["customer_id"] for row in rows] == sorted(row["customer_id"] for row in rows)
    for table, key in (
        ("monthly_assignments", "customer_id"),
        ("customer_actions", "customer_id"),
        ("churn_risk", "customer_id"),
        ("segment_profiles", "segment_id"),
    ):
        names = [row[0] for row in query(three_months.published, f"DESCRIBE {table}") if row[0] in COLUMNS]
        published = query(
            three_months.published, f"SELECT {key}, {', '.join(names)} FROM {table} WHERE month='{month}'"
        )
        by_key = {value: tuple(rest) for value, *rest in published}
        if key == "customer_id" and table != "churn_risk":
            assert set(by_key) == {row["customer_id"] for row in rows}
        for row in rows:
            if row[key] in by_key:
                assert tuple(row[name] for name in names) == by_key[row[key]]
    queue = query(
        three_months.published,
        f"SELECT DISTINCT customer_id, priority, within_budget FROM early_warnings "
        f"WHERE month = '{month}' AND status <> 'resolved' ORDER BY customer_id",
    )
    assert [(r["customer_id"], r["priority"], r["within_budget"]) for r in rows if r["warnings"] is not None] == queue
    assert month == MARCH or queue


def test_last_months_export_with_the_delta_applied_is_this_months(three_months, tmp_path):
    for month in (MARCH, APRIL, MAY):
        export_month(three_months.published, "shop", folder=tmp_path / f"{month}", month=month)
    for before, month in ((MARCH, APRIL), (APRIL, MAY)):
        export_month(three_months.published, "shop", folder=tmp_path / "delta", month=month, delta=True)
        delta = read(tmp_path / "delta" / "changes.parquet")
        assert {row[2] for row in delta} == {"added", "changed", "removed"}
        assert [row[1] for row in delta] == sorted(row[1] for row in delta)
        now = read(tmp_path / f"{month}" / "customers.parquet")
        assert applied(read(tmp_path / f"{before}" / "customers.parquet"), delta) == {r[1]: compared(r) for r in now}


def test_csv_and_parquet_hold_the_same(three_months, tmp_path):
    for delta, stem in ((False, "customers"), (True, "changes")):
        folder = tmp_path / stem
        export_month(three_months.published, "shop", folder=folder, delta=delta)
        header, *rows = read_csv(folder / f"{stem}.csv")
        assert [name for name in header if name != "change"] == list(COLUMNS)
        texts = [
            ["" if value is None else str(value).lower() if isinstance(value, bool) else str(value) for value in row]
            for row in read(folder / f"{stem}.parquet")
        ]
        number = {header.index(name) for name in ("max_probability", "second_probability", "churn_risk")}

        def exact(rows: list[list[str]], number: set[int] = number) -> list[list[object]]:
            return [[float(v) if i in number and v else v for i, v in enumerate(row)] for row in rows]

        assert exact(rows) == exact(texts)


def test_the_manifest_tells_the_truth_and_stands_beside_its_files_only(three_months, tmp_path):
    export_month(three_months.published, "shop", folder=tmp_path, delta=True)
    with pytest.raises(ExportError, match="holds a delta export, and a full one would replace it"):
        export_month(three_months.published, "shop", folder=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert {file.name for file in tmp_path.iterdir()} == {"changes.parquet", "changes.csv", "manifest.json"}
    published_at = query(
        three_months.published,
        "SELECT max(finished_at) FROM pipeline_runs WHERE month = '2023-05-01' AND asset = 'published_segments'",
    )[0][0]
    assert {key: value for key, value in manifest.items() if key != "files"} == {
        "config": "shop",
        "kind": "delta",
        "spreadsheet": False,
        "month": "2023-05",
        "previous_month": "2023-04",
        "published_at": f"{published_at.isoformat()}Z",
    }
    rows = read(tmp_path / "changes.parquet")
    for file in manifest["files"]:
        written = (tmp_path / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(written), hashlib.sha256(written).hexdigest())
        assert file["rows"] == len(rows)
        assert file["columns"] == read_csv(tmp_path / "changes.csv")[0]
    assert len(read_csv(tmp_path / "changes.csv")) == len(rows) + 1


def test_the_same_month_gives_the_same_bytes(three_months, tmp_path):
    for folder in ("once", "twice"):
        for kind in (False, True):
            export_month(three_months.published, "shop", folder=tmp_path / folder / str(kind), delta=kind)
    assert content(tmp_path / "once") == content(tmp_path / "twice")


# --- a published file of our own --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory):
    """A published file with all tables and two published months, of nobody so far."""
    path = tmp_path_factory.mktemp("by_hand") / "segments.duckdb"
    with duckdb.connect(str(path)) as connection:
        for table in PUBLISHED_TABLES:
            for statement in table.ddl():
                connection.execute(statement)
        connection.executemany(
            "INSERT INTO pipeline_runs (month, asset, finished_at) VALUES (?, 'published_segments', '2023-06-02')",
            [[APRIL], [MAY]],
        )
    return path


def publish(path: Path, months: dict[date, dict[str, tuple]]) -> None:
    """customer -> (segment, probability, churn risk, priority, action), month by month."""
    with duckdb.connect(str(path)) as connection:
        for table in ("monthly_assignments", "churn_risk", "early_warnings", "customer_actions"):
            connection.execute(f"DELETE FROM {table}")
        for month, customers in months.items():
            for customer, (segment, probability, risk, priority, action) in customers.items():
                key = [month, customer]
                connection.execute(
                    "INSERT INTO monthly_assignments (month, customer_id, segment_id, max_probability, model_version) "
                    "VALUES (?, ?, ?, ?, month(?))",
                    [*key, segment, probability, month],
                )
                connection.execute(
                    "INSERT INTO customer_actions (month, customer_id, action_id) VALUES (?, ?, ?)", [*key, action]
                )
                if risk is not None:
                    connection.execute("INSERT INTO churn_risk VALUES (?, ?, ?)", [*key, risk])
                if priority is not None:
                    connection.executemany(
                        "INSERT INTO early_warnings (month, customer_id, warning, status, priority, within_budget) "
                        "VALUES (?, ?, ?, 'new', ?, ?)",
                        [[*key, warning, priority, priority < 3] for warning in ("mixed_signal", "segment_downgrade")],
                    )


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6)
customers = st.dictionaries(
    st.one_of(st.sampled_from(["a", "b", 'say "hi", you', "two\r\nlines", "=1+1", "🦊"]), names),
    st.tuples(
        st.integers(1, 2),
        st.sampled_from([0.1, 1 / 3, 1.0]),
        st.sampled_from([None, 0.5]),
        st.sampled_from([None, 1, 4]),
        st.sampled_from([None, "call", ""]),
    ),
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(april=customers, may=customers)
def test_whatever_changes_the_delta_leads_from_month_to_month_and_ids_survive(by_hand, tmp_path, april, may):
    publish(by_hand, {APRIL: april, MAY: may})
    for month in (APRIL, MAY):
        export_month(by_hand, "x", folder=tmp_path / f"{month}", month=month)
    export_month(by_hand, "x", folder=tmp_path / "delta", delta=True)
    now = read(tmp_path / f"{MAY}" / "customers.parquet")
    delta = read(tmp_path / "delta" / "changes.parquet")
    assert len(now) == len(may)
    assert applied(read(tmp_path / f"{APRIL}" / "customers.parquet"), delta) == {row[1]: compared(row) for row in now}
    assert [row[1] for row in read_csv(tmp_path / f"{MAY}" / "customers.csv")[1:]] == sorted(may)
    assert {row[1] for row in delta} == {name for name in {*april, *may} if april.get(name) != may.get(name)}


def test_csv_lines_end_as_rfc_4180_has_it_and_hostile_ids_come_through(by_hand, tmp_path):
    ids = [
        '"quoted"',
        "a,b",
        "line\nbreak",
        "carriage\rreturn",
        " spaces ",
        "=HYPERLINK(1)",
        "é🦊",
        "'; DROP TABLE x; --",
    ]
    publish(by_hand, {MAY: dict.fromkeys(ids, (1, 0.5, None, None, None))})
    export_month(by_hand, "x", folder=tmp_path, month=MAY, formats=["csv"])
    written = (tmp_path / "customers.csv").read_bytes()
    assert written.count(b"\r\n") == len(ids) + 1
    assert written.endswith(b"\r\n")
    assert [row[1] for row in read_csv(tmp_path / "customers.csv")[1:]] == sorted(ids)
    assert {file.name for file in tmp_path.iterdir()} == {"customers.csv", "manifest.json"}


def test_a_spreadsheet_runs_nothing_of_what_it_is_given(by_hand, tmp_path):
    harmless, formulas = ["a=1", "'x", "1-2"], ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx"]
    publish(by_hand, {MAY: dict.fromkeys([*harmless, *formulas], (1, 0.5, None, None, None))})
    export_month(by_hand, "x", folder=tmp_path, month=MAY, spreadsheet=True)
    written = {row[1] for row in read_csv(tmp_path / "customers.csv")[1:]}
    assert written == {*harmless, *(f"'{formula}" for formula in formulas)}
    assert {row[1] for row in read(tmp_path / "customers.parquet")} == {*harmless, *formulas}  # nobody opens it there


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"month": JUNE}, "2023-06 is not published: {} holds 2023-03, 2023-04, 2023-05. Ask for one of these, or"),
        ({"month": MARCH, "delta": True}, "2023-03 has no delta, for 2023-02 is not published: {} holds 2023-03,"),
    ],
)
def test_a_month_that_is_not_there_is_refused_with_those_that_are(three_months, tmp_path, asked, said):
    with pytest.raises(ExportError) as refused:
        export_month(three_months.published, "shop", folder=tmp_path / "out", **asked)
    assert str(refused.value).startswith(said.format(three_months.published))
    assert not (tmp_path / "out").exists()


def test_before_the_first_run_it_says_what_to_run(tmp_path):
    with pytest.raises(ExportError, match=r"no month has been published\. Run: segment-pipeline run"):
        export_month(tmp_path / "segments.duckdb", "shop")


def test_a_folder_that_cannot_be_written_is_named(three_months, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match=r"file/out cannot be written: Not a directory\. Name with --out"):
        export_month(three_months.published, "shop", folder=tmp_path / "file" / "out")


def test_an_export_that_fails_leaves_the_one_before_whole(three_months, tmp_path, monkeypatch):
    from segment_pipeline.publishing import exports

    export_month(three_months.published, "shop", folder=tmp_path, month=APRIL)
    before = content(tmp_path)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exports, "_described", no_space)
    with pytest.raises(ExportError, match="No space left on device"):
        export_month(three_months.published, "shop", folder=tmp_path, month=MAY)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "manifest", ['{"name": "a web app"}', "[]", "{", '{"kind": "full", "files": [{"name": "../x"}]}']
)
def test_somebody_elses_manifest_is_not_replaced(three_months, tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ExportError, match="is not that of an export"):
        export_month(three_months.published, "shop", folder=tmp_path)
    assert content(tmp_path) == {"manifest.json": manifest.encode()}
