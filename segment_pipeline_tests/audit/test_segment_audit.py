"""The company's own segments beside ours: wrong labels are found, and labels that cannot be used are told."""

import duckdb
import pytest

from segment_pipeline.audit.audit_store import audit_segments, write_audit
from segment_pipeline.config.config import parse_config
from segment_pipeline_tests.planted_customers import CONFIG, MONTH, fill, planted_customers

CUSTOMERS = 3000


@pytest.fixture(scope="module")
def month():
    """A connection with a month of customers, who they are, and the champion."""
    drawn = planted_customers(CUSTOMERS)
    with duckdb.connect() as connection:
        model = fill(connection, parse_config(CONFIG, "segmentation.yaml"), drawn)
        yield connection, drawn, model


def audited(month, folder, rows: list[str] | None = None, more: str = CONFIG, header: str = "who,grade"):
    connection, drawn, model = month
    lines = [f"{who},{label}" for who, label in zip(drawn.ids, drawn.labels, strict=True)] if rows is None else rows
    (folder / "theirs.csv").write_text("\n".join([header, *lines]))
    return audit_segments(connection, parse_config(more, folder / "segmentation.yaml"), model, MONTH)


def listed(audit, name: str) -> list[dict]:
    return [row for row in audit.customers if row["list"] == name]


def test_most_of_the_twenty_most_mislabelled_are_the_shuffled_ones(month, tmp_path):
    audit = audited(month, tmp_path)
    shuffled = dict(zip(month[1].ids, month[1].shuffled, strict=True))
    rows = listed(audit, "most_mislabelled")
    assert [row["place"] for row in rows] == list(range(1, 21))
    assert sum(shuffled[row["customer_id"]] for row in rows) >= 18
    for row in rows:
        assert row["label_probability"] < row["typical_probability"] / 2
        assert row["reason"].startswith(f"labelled {row['their_segment']}, but ")
        assert row["reason"].endswith(f"of customers like this are labelled {row['expected_segment']}")
    assert audit.problems == []


def test_about_as_many_labels_look_wrong_as_were_shuffled(month, tmp_path):
    found = audited(month, tmp_path).figures["looks_mislabelled"]
    assert 0.7 * month[1].shuffled.sum() <= found <= 1.6 * month[1].shuffled.sum()


def test_labels_drawn_by_lot_accuse_nobody(month, tmp_path):
    rows = [f"{who},{'common' if number % 10 else 'rare'}" for number, who in enumerate(month[1].ids)]
    audit = audited(month, tmp_path, rows)
    assert listed(audit, "most_mislabelled") == []
    assert abs(audit.figures["adjusted_rand_index"]) < 0.02
    assert "have next to nothing in common" in audit.summary[0]["sentence"]


def test_the_cross_table_adds_up(month, tmp_path):
    rows = audited(month, tmp_path).cross_table
    assert sum(row["customers"] for row in rows) == CUSTOMERS
    gold = [row for row in rows if row["their_segment"] == "Gold"]
    assert sum(row["share_of_theirs"] for row in gold) == pytest.approx(1)
    first = [row for row in rows if row["segment_id"] == 1]
    assert sum(row["share_of_ours"] for row in first) == pytest.approx(1)
    assert max(gold, key=lambda row: row["customers"])["segment_id"] == 1


def test_the_fifty_with_the_largest_spend_are_told_in_order_with_and_without_a_label(month, tmp_path):
    _, drawn, _ = month
    spend = dict(zip(drawn.ids, drawn.X[:, 1] * drawn.X[:, 2], strict=True))
    richest = sorted(spend, key=lambda who: -spend[who])[:50]
    rows = [f"{who},{label}" for who, label in zip(drawn.ids, drawn.labels, strict=True) if who != richest[3]]
    audit = audited(month, tmp_path, rows)
    found = listed(audit, "top_revenue")
    assert [row["customer_id"] for row in found] == richest
    assert found[0]["total_spend"] == pytest.approx(spend[richest[0]])
    assert found[3]["their_segment"] is None
    assert found[3]["reason"].startswith("no label; ")
    assert audit.remarks == ["1 customer of this month without a label"]


@pytest.mark.parametrize("name", ["spend", "spend_in_window", "x0", "label", "list"])
def test_a_feature_may_be_called_what_the_audit_calls_something_else(month, tmp_path, name):
    expected = audited(month, tmp_path)
    renamed = CONFIG.replace("products_per_order", name)
    with duckdb.connect() as connection:
        model = fill(connection, parse_config(renamed, "segmentation.yaml"), month[1])
        found = audited((connection, month[1], model), tmp_path, more=renamed)
    assert (found.cross_table, found.problems) == (expected.cross_table, [])
    for row, other in zip(found.customers, expected.customers, strict=True):
        assert row | {"reason": ""} == other | {"reason": ""}


def test_the_same_audit_twice_gives_the_same_rows(month, tmp_path):
    assert audited(month, tmp_path) == audited(month, tmp_path)


def test_a_label_is_data_whatever_it_holds(month, tmp_path):
    hostile = "o'Gold; {x} --"
    labels = [hostile if label == "Gold" else label for label in month[1].labels]
    audit = audited(month, tmp_path, [f"{who},{label}" for who, label in zip(month[1].ids, labels, strict=True)])
    assert {row["their_segment"] for row in audit.cross_table} == {hostile, "Lapsed", "Silver"}


BAD_LABELS = {
    "unknown customers": (lambda lines: [*lines, "nobody,Gold"], "found 1 customer unknown to every month", True),
    "only unknown customers": (
        lambda lines: ["nobody,Gold", "noone,Silver"],
        "are the ids those of the source?",
        False,
    ),
    "one label": (lambda lines: [line.partition(",")[0] + ",Gold" for line in lines], "have the same label", False),
    "a label each": (
        lambda lines: [f"{line[:9]},{line[:9]}" for line in lines],
        "Is the column an id or free text?",
        False,
    ),
    "two labels for one": (lambda lines: [*lines, lines[0].partition(",")[0] + ",Iron"], "with several segments", True),
    "no label": (lambda lines: [lines[0].partition(",")[0] + ",", *lines[1:]], "whose segment is missing", True),
    "no customer": (lambda lines: [*lines, ",Gold"], "in rows without a customer id", True),
    "no rows": (lambda lines: [], "holds no rows", False),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_what_is_wrong_with_the_labels_is_told_and_the_rest_is_compared(month, tmp_path, case):
    change, message, compared = BAD_LABELS[case]
    lines = [f"{who},{label}" for who, label in zip(month[1].ids, month[1].labels, strict=True)]
    audit = audited(month, tmp_path, change(lines))
    assert any(message in problem for problem in audit.problems), audit.problems
    assert bool(audit.cross_table) == compared
    assert (audit.summary[-1]["metric"] == "not_made") != compared
    assert not any(str(tmp_path) in row["sentence"] for row in audit.summary)


def test_the_same_row_twice_is_no_fault(month, tmp_path):
    lines = [f"{who},{label}" for who, label in zip(month[1].ids, month[1].labels, strict=True)]
    audit = audited(month, tmp_path, [*lines, lines[0]])
    assert audit.problems == []
    assert audit.remarks == ["1 customer in several rows, with the same segment"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("theirs.csv", "none.csv", "none.csv does not exist"),
        ("grade}", "rank}", "audit.segment: column rank is missing; found who, grade"),
        ("who,", "whom,", "audit.customer_id: column whom is missing"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_path_and_key(month, tmp_path, old, new, message):
    audit = audited(month, tmp_path, more=CONFIG.replace(old, new))
    assert any(message in problem for problem in audit.problems), audit.problems
    assert [row["metric"] for row in audit.summary] == ["not_made"]


def test_a_column_of_the_snapshots_will_do(month, tmp_path):
    connection, drawn, model = month
    lines = [f"{who},{label}" for who, label in zip(drawn.ids, drawn.labels, strict=True)]
    (tmp_path / "customers.csv").write_text("\n".join(["id,grade", *lines]))
    text = CONFIG.replace("audit: {path: theirs.csv, customer_id: who, segment: grade}", "audit: {segment: grade}")
    audit = audit_segments(connection, parse_config(text, tmp_path / "segmentation.yaml"), model, MONTH)
    assert sum(row["customers"] for row in audit.cross_table) == CUSTOMERS


def test_a_column_of_the_query_will_do(month, tmp_path):
    connection, _, model = month
    (tmp_path / "customers.sql").write_text(
        f"SELECT 'c' || lpad(CAST(range AS VARCHAR), 8, '0') AS customer_id, range % 3 AS grade FROM range({CUSTOMERS})"
    )
    text = CONFIG.replace("path: theirs.csv, customer_id: who, ", "").replace(
        "snapshots: {path: customers.csv, customer_id: id}", "query: {file: customers.sql}"
    )
    audit = audit_segments(connection, parse_config(text, tmp_path / "segmentation.yaml"), model, MONTH)
    assert {row["their_segment"] for row in audit.cross_table} == {"0", "1", "2"}


def test_without_an_audit_in_the_file_nothing_is_written(month, tmp_path):
    connection, _, model = month
    config = parse_config(CONFIG[: CONFIG.index("audit: {")], tmp_path / "segmentation.yaml")
    assert audit_segments(connection, config, model, MONTH) is None
    assert write_audit(connection, MONTH, None) == 0
