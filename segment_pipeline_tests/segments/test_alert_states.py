"""An alert is new, ongoing and then resolved, whatever it is of; and what is measured of the base as a whole."""

from collections.abc import Iterator
from datetime import date

import duckdb
import pytest

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.store import prepare
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.drift_store import (
    Figure,
    alert_counts,
    base_figures,
    fired_alerts,
    write_drift_alerts,
    write_feature_drift,
)
from segment_pipeline_tests.shop import Shop

MARCH, APRIL, MAY, JUNE = (date(2023, month, 1) for month in (3, 4, 5, 6))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    more = "quality: {max_row_count_change: 0.5}"
    return load_config(Shop(tmp_path_factory.mktemp("alerts")).configure(more=more).config_path)


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ())
        yield connection


def trigger(
    connection: duckdb.DuckDBPyConnection,
    month: date,
    value: float,
    severity: str | None,
    months: int,
    segment: int = 3,
) -> None:
    """A month's figure of the champion, with a limit of 0.5; without a severity it has not fired."""
    connection.execute(
        "INSERT INTO refit_triggers (month, metric, segment_id, feature, value, threshold, fired, severity, "
        "months_fired) VALUES (?, 'component_mean_shift', ?, 'orders', ?, 0.5, ?, ?, ?)",
        [month, segment, value, severity is not None, severity, months],
    )


def alerts(connection: duckdb.DuckDBPyConnection, month: date, metric: str) -> list[tuple]:  # type: ignore[type-arg]
    return connection.execute(
        "SELECT segment_id, feature, value, threshold, fired, status, severity, months_fired FROM drift_alerts "
        "WHERE month = ? AND metric = ? ORDER BY segment_id",
        [month, metric],
    ).fetchall()


def test_a_trigger_is_an_alert_of_its_own_month_from_its_first_to_the_one_in_which_it_is_quiet(warehouse):
    trigger(warehouse, MARCH, 0.1, None, 0)
    trigger(warehouse, APRIL, 0.7, "soft", 1)
    trigger(warehouse, MAY, 0.9, "hard", 2)
    trigger(warehouse, JUNE, 0.2, None, 0)
    told = {}
    for month in (MARCH, APRIL, MAY, JUNE):
        assert write_drift_alerts(warehouse, month, []) == 1
        told[month] = alerts(warehouse, month, "component_mean_shift")
    assert told == {
        MARCH: [(3, "orders", 0.1, 0.5, False, None, None, 0)],
        APRIL: [(3, "orders", 0.7, 0.5, True, "new", "soft", 1)],
        MAY: [(3, "orders", 0.9, 0.5, True, "ongoing", "hard", 2)],
        JUNE: [(3, "orders", 0.2, 0.5, False, "resolved", None, 0)],
    }
    assert alert_counts(warehouse, MARCH) == {"new": 0, "ongoing": 0, "resolved": 0}
    assert alert_counts(warehouse, MAY) == {"new": 0, "ongoing": 1, "resolved": 0}
    assert alert_counts(warehouse, JUNE) == {"new": 0, "ongoing": 0, "resolved": 1}
    assert fired_alerts(warehouse, APRIL) == [
        "new component_mean_shift, segment 3, orders: 0.7 (limit 0.5), refits if it lasts"
    ]
    assert fired_alerts(warehouse, MAY) == ["ongoing component_mean_shift, segment 3, orders: 0.9 (limit 0.5)"]
    assert fired_alerts(warehouse, JUNE) == []


def test_an_alert_whose_figure_is_not_measured_any_more_is_seen_to_end_once(warehouse):
    trigger(warehouse, APRIL, 0.7, "soft", 1)
    trigger(warehouse, MAY, 0.8, "soft", 1, segment=4)  # another segment's is another alert
    for month in (APRIL, MAY, JUNE):
        write_drift_alerts(warehouse, month, [])
    assert alerts(warehouse, MAY, "component_mean_shift") == [
        (3, "orders", None, 0.5, False, "resolved", None, 0),
        (4, "orders", 0.8, 0.5, True, "new", "soft", 1),
    ]
    assert alerts(warehouse, JUNE, "component_mean_shift") == [(4, "orders", None, 0.5, False, "resolved", None, 0)]


def test_a_figure_of_the_base_counts_the_months_in_which_it_has_fired(warehouse):
    for month, value in ((MARCH, 0.3), (APRIL, 0.6), (MAY, 0.7), (JUNE, 0.1)):
        figures = [Figure("customers_change", value, 0.5, value > 0.5), Figure("population_psi", 9, 1, True, "orders")]
        assert write_drift_alerts(warehouse, month, figures) == 2
    found = [alerts(warehouse, month, "customers_change")[0][2:] for month in (MARCH, APRIL, MAY, JUNE)]
    assert found == [
        (0.3, 0.5, False, None, None, 0),
        (0.6, 0.5, True, "new", "alert", 1),
        (0.7, 0.5, True, "ongoing", "alert", 2),
        (0.1, 0.5, False, "resolved", None, 0),
    ]
    assert alerts(warehouse, JUNE, "population_psi") == [(None, "orders", 9, 1, True, "ongoing", "alert", 4)]


def assign(connection: duckdb.DuckDBPyConnection, month: date, customers: int) -> None:
    connection.execute(
        "INSERT INTO monthly_assignments (month, customer_id) SELECT ?, range FROM range(?)", [month, customers]
    )


def candidate(connection: duckdb.DuckDBPyConnection, month: date, admissible: bool) -> None:
    connection.execute("INSERT INTO candidate_models (month, admissible) VALUES (?, ?)", [month, admissible])


def test_the_base_is_measured_against_the_month_before_alone(warehouse, config):
    for month, customers in ((MARCH, 1000), (APRIL, 100), (MAY, 150), (JUNE, 60)):
        assign(warehouse, month, customers)
        candidate(warehouse, month, admissible=month != MAY)
        candidate(warehouse, month, admissible=False)
    admissible, change = base_figures(warehouse, config, MAY)
    assert admissible == Figure("admissible_candidates", 0.0, 1.0, True)
    assert change == Figure("customers_change", 0.5, 0.5, False)  # at its limit it is not beyond it
    admissible, change = base_figures(warehouse, config, JUNE)
    assert admissible == Figure("admissible_candidates", 1.0, 1.0, False)
    assert change == Figure("customers_change", 0.6, 0.5, True)
    assert [figure.metric for figure in base_figures(warehouse, config, MARCH)] == ["admissible_candidates"]


def test_each_feature_is_compared_with_the_month_that_the_champion_was_fitted_to_as_long_as_that_is_there(copy):
    config = load_config(copy.config_path)
    with duckdb.connect(str(copy.warehouse)) as connection:
        ours = "SELECT * FROM feature_drift WHERE month = '2023-05-01' ORDER BY ALL"
        before = connection.execute(ours).fetchall()
        figures = write_feature_drift(connection, config, MAY)
        assert connection.execute(ours).fetchall() == before
        assert len(before) == len(config.features)
        assert len(figures) == 2 * len(before)
        told = "SELECT feature, psi, psi_limit, drifted FROM feature_drift WHERE month = '2023-05-01' ORDER BY ALL"
        indexes = [one for one in figures if one.metric == "population_psi"]
        assert connection.execute(told).fetchall() == sorted(
            (one.feature, one.value, one.threshold, one.value > one.threshold) for one in indexes
        )
        connection.execute("DELETE FROM validated_features WHERE month = '2023-03-01'")
        assert write_feature_drift(connection, config, MAY) == []
        assert connection.execute(ours).fetchall() == []
