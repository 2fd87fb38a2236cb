"""Portrait features: whatever their values are, nobody is rejected for them, and no other value changes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.config import Config, parse_config
from segment_pipeline.customers.contract import build_contract
from segment_pipeline.customers.split_store import SplitCounts, split_customers
from segment_pipeline.database.rows import exact_mean
from segment_pipeline.database.store import prepare
from segment_pipeline.errors import ConfigError
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.user_file import FILE

MARCH = date(2023, 3, 1)
NAN, INF = float("nan"), float("inf")


def config_with(margin: str) -> Config:
    return parse_config(
        f"""
name: shop
first_month: 2023-03
source: {{snapshots: {{path: "{{month}}.csv", customer_id: id}}}}
features:
  - {{name: visits, valid: {{min: 0}}}}
  - {{name: pages, valid: {{min: 0}}}}
  {margin}
""",
        FILE,
    )


@contextmanager
def split_of(config: Config, margins: Sequence[float | None], unreadable: Sequence[int] = ()) -> Iterator[tuple]:
    """The split of customers who are all sound but for their margin, and the connection to its tables."""
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("visits", "pages", "margin"))
        for number, margin in enumerate(margins):
            connection.execute(
                "INSERT INTO raw_customers (month, customer_id, copies, unreadable_amounts, missing_order_ids, "
                "unreadable_values, visits, pages, margin) VALUES (?, ?, 1, 0, 0, ?, ?, ?, ?)",
                [
                    MARCH,
                    f"c{number:03d}",
                    {"margin": "?"} if number in unreadable else {},
                    number,
                    2 * number,
                    margin,
                ],
            )
        yield split_customers(connection, config, build_contract(config), MARCH), connection


def kept(connection: duckdb.DuckDBPyConnection) -> list[float | None]:
    rows = connection.execute("SELECT margin FROM validated_features ORDER BY customer_id").fetchall()
    return [value for (value,) in rows]


PORTRAIT = "- {name: margin, use: portrait, valid: {min: 0, max: 100}}"


def test_a_value_that_is_missing_or_impossible_is_left_out_and_the_customer_stays():
    margins = [5.0, None, NAN, INF, -1.0, 101.0, None, 100.0]  # the second None is a text in the source
    with split_of(config_with(PORTRAIT), margins, unreadable=[6]) as (split, connection):
        assert (split.accepted, split.rejected, split.reasons) == (8, 0, {})
        assert kept(connection) == [5.0, None, None, None, None, None, None, 100.0]
        assert split.left_out == {
            "missing:margin": 1,
            "not_a_number:margin": 1,
            "not_finite:margin": 2,
            "below_minimum:margin": 1,
            "above_maximum:margin": 1,
        }


def test_the_same_feature_in_the_model_rejects_them():
    in_model = config_with(PORTRAIT.replace("use: portrait", "use: model"))
    with split_of(in_model, [5.0, None, -1.0, 6.0]) as (split, _):
        assert (split.accepted, split.rejected, split.left_out) == (2, 2, {})


@pytest.mark.parametrize(("policy", "farthest"), [("keep", 1e6), ("cap", None), ("reject", None)])
def test_an_outlier_is_kept_drawn_in_or_left_out_as_the_file_says(policy: str, farthest: float | None):
    portrait = f"- {{name: margin, use: portrait, transform: log1p, valid: {{min: 0}}, outliers: {policy}}}"
    margins = [10.0 + number % 3 for number in range(60)] + [1e6, None, -5.0]
    with split_of(config_with(portrait), margins) as (split, connection):
        values = kept(connection)
        assert split.accepted == 63
        assert values[:60] == margins[:60]
        assert values[61:] == [None, None]
        if farthest is not None:
            assert values[60] == farthest
        elif policy == "cap":
            assert 12 < values[60] < 1e6
            assert split.capped == 1
        else:
            assert values[60] is None
            assert split.left_out == {"missing:margin": 1, "below_minimum:margin": 1, "outlier:margin": 2}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1, max_size=12))
def test_whatever_a_portrait_holds_the_model_sees_the_same_customers(margins: list[float | None]):
    def seen(config: Config) -> tuple[SplitCounts, list[tuple]]:
        with split_of(config, margins) as (split, connection):
            rows = connection.execute("SELECT customer_id, visits, pages FROM validated_features ORDER BY 1").fetchall()
            return split, rows

    with_portrait, rows = seen(config_with("- {name: margin, use: portrait, transform: log}"))
    without, rows_without = seen(config_with(""))
    assert rows == rows_without
    assert (with_portrait.accepted, with_portrait.rejected) == (without.accepted, without.rejected)


def test_a_value_of_no_sense_without_a_valid_range_does_not_reach_the_means():
    with split_of(config_with("- {name: margin, use: portrait}"), [1e15, -1e300, 2.0]) as (split, connection):
        assert kept(connection) == [1e15, None, 2.0]
        assert split.left_out == {"too_large:margin": 1}
        (mean,) = connection.execute(f"SELECT {exact_mean('margin')} FROM validated_features").fetchone()
    assert mean == (1e15 + 2) / 2


OWN = """
name: shop
first_month: 2023-03
source: {{orders: {{path: o.csv, customer_id: c, order_id: o, ordered_at: t, amount: a}}}}
features:
  - {{name: orders, valid: {{min: 1}}}}
  - {{name: average_order_value, valid: {{min: 0}}}}
  - {{name: nights, of_lines: "{aggregate}", use: {use}}}
"""
NIGHTS = "count(*) FILTER (hour(ordered_at) < 6)"


@pytest.mark.parametrize(
    ("before", "now", "use", "refused"),
    [
        (NIGHTS, NIGHTS, "model", False),
        (NIGHTS, NIGHTS.replace("6", "7"), "model", True),
        (NIGHTS, NIGHTS.replace("6", "7"), "portrait", False),  # it is compared with no other month
    ],
)
def test_a_feature_of_the_model_is_one_thing_in_all_months(before: str, now: str, use: str, refused: bool):
    config = parse_config(OWN.format(aggregate=now, use=use), FILE)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        earlier = parse_config(OWN.format(aggregate=before, use="portrait"), FILE)
        split_customers(connection, earlier, build_contract(earlier), date(2023, 2, 1))
        if not refused:
            assert split_customers(connection, config, build_contract(config), MARCH).raw == 0
            return
        with pytest.raises(ConfigError) as told:
            split_customers(connection, config, build_contract(config), MARCH)
    message = str(told.value)
    assert "features[2].of_lines: found count(*) FILTER (hour(ordered_at) < 7)" in message
    assert "in 2023-02 nights was count(*) FILTER (hour(ordered_at) < 6)" in message
    assert "another name" in message
    assert "all segments get new ids" in message
    assert "keep the old one beside it with use: portrait" in message


def test_the_limits_of_a_portrait_stand_beside_those_of_the_model():
    with split_of(config_with(PORTRAIT), [1.0, 2.0]) as (_, connection):
        rows = connection.execute("SELECT feature, use, highest FROM feature_limits ORDER BY feature").fetchall()
    assert rows == [("margin", "portrait", 100.0), ("pages", "model", None), ("visits", "model", None)]
