"""Audiences that jump: silent by chance and in a refit, loud when a segment or tier changes beyond its own past."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.store import prepare
from segment_pipeline.months import add_months
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.charts_store import drift_history
from segment_pipeline.segments.drift import JUMPS_BY_CHANCE, size_change
from segment_pipeline.segments.drift_store import (
    FEWEST_CHANGES,
    audience_figures,
    fired_alerts,
    write_drift_alerts,
)
from segment_pipeline_tests.shop import Shop

JANUARY = date(2023, 1, 1)
LAST = add_months(JANUARY, FEWEST_CHANGES + 1)
"""The first month whose audiences have enough past changes to be judged by."""


@pytest.mark.parametrize("n", [FEWEST_CHANGES, 12, 24])
def test_a_quiet_audience_is_beyond_its_limit_as_seldom_as_is_said(n: int) -> None:
    random = np.random.default_rng(3)
    drawn = random.normal(0.1, 0.05, (20_000, n + 1))
    over = [value > limit for value, limit in (size_change(row[:-1], row[-1], 1e-6) for row in drawn)]
    assert np.mean(over) == pytest.approx(JUMPS_BY_CHANCE, rel=0.35)


def test_a_change_is_told_as_a_share_whichever_way_and_beside_what_is_usual() -> None:
    past = np.log([1.1] * 8)
    assert size_change(past, np.log(1.1 * 1.5), 0.2) == pytest.approx((0.5, 0.2))
    assert size_change(past, np.log(1.1 / 1.5), 0.2) == pytest.approx((0.5, 0.2))


def test_a_jump_of_before_does_not_hide_the_next() -> None:
    random = np.random.default_rng(4)
    past = random.normal(0, 0.02, 18)
    past[3] = np.log(2)
    value, limit = size_change(past, np.log(2), 0.2)
    assert value > limit
    # nor does it move what is usual
    assert size_change(np.append(np.zeros(9), np.log(2)), np.log(1.5), 0.2)[0] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    shop = Shop(tmp_path_factory.mktemp("audiences")).configure()
    return load_config(shop.config_path)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        yield connection


def fill(
    connection: duckdb.DuckDBPyConnection,
    sizes: Sequence[Mapping[int, int]],
    refit: int | None = None,
    hybrids: Sequence[int] = (),
) -> None:
    """Months from January on, of segments of these sizes; of the first some are hybrid customers. refit : the place of
    a month whose champion sees everybody of the month before in half as large a first segment."""
    for index, of_month in enumerate(sizes):
        month, version = add_months(JANUARY, index), 1 + (refit is not None and index >= refit)
        for segment_id, size in of_month.items():
            before = dict(sizes[index - 1]) if index else {}
            if index == refit:
                before = {1: before[1] // 2, 2: before[2] + before[1] - before[1] // 2}
            share_before = before[segment_id] / sum(before.values()) if before else None
            connection.execute(
                "INSERT INTO segment_profiles (month, segment_id, customers, share_before, model_version) "
                "VALUES (?, ?, ?, ?, ?)",
                [month, segment_id, size, share_before, version],
            )
            hybrid = hybrids[index] if hybrids and segment_id == 1 else 0
            connection.execute(
                "INSERT INTO monthly_assignments (month, customer_id, segment_id, tier, model_version) "
                "SELECT ?, printf('%d-%d', ?, i), ?, CASE WHEN i < ? THEN 'hybrid' ELSE 'dominant' END, ? "
                "FROM range(?) AS numbers(i)",
                [month, segment_id, segment_id, hybrid, version, size],
            )


def quiet(months: int) -> list[dict[int, int]]:
    return [{1: 400 + 10 * (i % 3), 2: 600 - 10 * (i % 2)} for i in range(months)]


def test_nothing_is_said_before_there_is_a_past(warehouse, config):
    fill(warehouse, quiet(FEWEST_CHANGES + 2))
    assert audience_figures(warehouse, config, add_months(LAST, -1)) == ([], [])
    figures, jumped = audience_figures(warehouse, config, LAST)
    assert {(figure.segment_id, figure.feature, figure.fired) for figure in figures} == {
        (1, None, False),
        (2, None, False),
        (None, "dominant", False),
    }
    assert jumped == []


def test_a_segment_that_halves_is_told_with_both_its_sizes(warehouse, config):
    fill(warehouse, [*quiet(FEWEST_CHANGES + 1), {1: 200, 2: 790}])
    figures, jumped = audience_figures(warehouse, config, LAST)
    assert jumped == [
        "segment 1 has 200 customers, 400 the month before",
        "segment 2 has 790 customers, 600 the month before",
    ]
    assert write_drift_alerts(warehouse, LAST, figures) == 3
    assert [line.split(":")[0] for line in fired_alerts(warehouse, LAST)] == [
        "new audience_size, segment 1",
        "new audience_size, segment 2",
    ]
    # of the chart each point is one figure with its own limit
    (shown,) = drift_history(warehouse, LAST)
    assert (shown["value"], shown["threshold"]) in {(figure.value, figure.threshold) for figure in figures}
    assert shown["value"] == max(figure.value for figure in figures)


def test_a_tier_that_jumps_is_told_as_well(warehouse, config):
    hybrids = [50, 52, 49, 51, 50, 48, 52, 120]
    fill(warehouse, quiet(FEWEST_CHANGES + 2), hybrids=hybrids)
    figures, jumped = audience_figures(warehouse, config, LAST)
    assert [(figure.segment_id, figure.feature) for figure in figures if figure.fired] == [(None, "hybrid")]
    assert jumped == ["the tier hybrid has 120 customers, 52 the month before"]


def test_a_tier_that_nobody_was_in_before_is_told(warehouse, config):
    fill(warehouse, quiet(FEWEST_CHANGES + 2), hybrids=[0] * (FEWEST_CHANGES + 1) + [120])
    figures, jumped = audience_figures(warehouse, config, LAST)
    assert jumped == ["the tier hybrid has 120 customers, 0 the month before"]
    (hybrid,) = (figure for figure in figures if figure.feature == "hybrid")
    assert hybrid.value == pytest.approx(120.5 / 0.5 - 1)  # half a customer more in both, as nobody has no logarithm


def test_a_refit_is_no_jump_and_none_in_the_past_either(warehouse, config):
    sizes = quiet(FEWEST_CHANGES + 3)
    halved = [{1: n[1] // 2, 2: n[2] + n[1] - n[1] // 2} for n in sizes]
    fill(warehouse, [*sizes[:-2], *halved[-2:]], refit=FEWEST_CHANGES + 1)
    for month in (LAST, add_months(LAST, 1)):
        figures, jumped = audience_figures(warehouse, config, month)
        assert jumped == []
        # what was each model's is not what the tiers' sizes can be compared by
        assert {figure.segment_id for figure in figures} == ({1, 2} if month == LAST else {1, 2, None})
        assert max(figure.threshold for figure in figures) < 0.3  # a step of half in the past would make it 0.7
