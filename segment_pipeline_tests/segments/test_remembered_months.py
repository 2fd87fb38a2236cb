"""A champion with memory in the real assets: its states, the published file, the macro that scores new customers."""

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.mixture.chain.markov import starting_memory
from segment_pipeline.models.model import SegmentModel
from segment_pipeline_tests.shop import Shop, published_content, query


def give_memory(shop: Shop) -> SegmentModel:
    """The shop's champion, with a memory from now on."""
    with duckdb.connect(str(shop.warehouse)) as connection:
        (found,) = connection.execute("SELECT parameters FROM model_versions WHERE model_version = 1").fetchone()
        model = SegmentModel.from_json(found)
        model = replace(model, memory=starting_memory(model.mixture.weights))
        connection.execute("UPDATE model_versions SET parameters = ? WHERE model_version = 1", [model.to_json()])
    shop.published.touch()  # no run has changed that month, so that the file would not be asked for it
    return model


def scored(published: Path, warehouse: Path, columns: str) -> dict[str, list[float]]:
    """What the published macro says of the customers of 2023-05, given these columns beside their features."""
    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH '{published}' AS segments (READ_ONLY); ATTACH '{warehouse}' AS warehouse (READ_ONLY)"
        )
        connection.execute(f"""
            CREATE TABLE given AS SELECT f.* EXCLUDE (month), {columns}
            FROM warehouse.validated_features AS f
            LEFT JOIN warehouse.memory_states AS s
                ON s.customer_id = f.customer_id AND s.month = DATE '2023-04-01' AND s.model_version = 1
            LEFT JOIN warehouse.transition_deltas AS d ON d.customer_id = f.customer_id AND d.month = f.month
            WHERE f.month = DATE '2023-05-01'
        """)
        return dict(connection.execute("SELECT customer_id, probabilities FROM segments.score(given)").fetchall())


def test_two_months_with_memory(copy, materialize):
    model = give_memory(copy)
    k = len(model.segments)
    for month in ("2023-04", "2023-05"):
        assert materialize(copy, month).success
    rows = query(
        copy.published,
        "SELECT probabilities, month_only_probabilities, next_probabilities, next_lapse_probability "
        "FROM monthly_assignments WHERE month = DATE '2023-05-01' ORDER BY customer_id",
    )
    now, month_only, ahead = (np.array([row[i] for row in rows]) for i in range(3))
    lapse = np.array([row[3] for row in rows])
    ((window,),) = query(copy.published, "SELECT max(months_silent) FROM silence_dynamics")
    steps = np.array(
        query(
            copy.published,
            "SELECT probability FROM silence_dynamics WHERE month = DATE '2023-05-01' "
            "ORDER BY months_silent, from_state, to_state = 'lapsed', to_state",
        )
    ).reshape(window + 1, k, k + 1)
    last_orders = query(
        copy.warehouse,
        """
        SELECT 12 * (2023 - year(day)) + 5 - month(day) FROM (
            SELECT customer_id, DATE '2023-06-01' - CAST(days_since_last_order AS INTEGER) AS day
            FROM raw_customers WHERE month = DATE '2023-05-01'
        ) SEMI JOIN (SELECT customer_id FROM monthly_assignments WHERE month = DATE '2023-05-01') USING (customer_id)
        ORDER BY customer_id
        """,
    )
    silence = np.array([months for (months,) in last_orders])
    expected = np.einsum("na,nab->nb", now, steps[silence])
    np.testing.assert_allclose(np.column_stack([ahead, lapse]), expected, atol=1e-12)
    assert lapse[silence < window].max() == 0.0 < lapse[silence == window].min()
    ((moves,),) = query(copy.published, "SELECT sum(customers) FROM silence_dynamics WHERE month = DATE '2023-05-01'")
    assert moves > 100
    assert np.abs(now - month_only).max() > 0.01
    moved = query(
        copy.published,
        "SELECT moved_probability FROM transition_deltas WHERE month = DATE '2023-05-01' AND changes IS NOT NULL",
    )
    assert len(moved) > 100
    assert all(0 <= value <= 1 for (value,) in moved)
    ((counted, soft),) = query(
        copy.published, "SELECT sum(customers), sum(expected) FROM transition_matrix WHERE month = DATE '2023-05-01'"
    )
    assert soft == pytest.approx(counted, abs=1e-6)

    lapsed = f"[{', '.join(['0.0'] * k)}, 1.0]"
    previous = f"coalesce(s.probabilities, CASE WHEN d.from_state = 'returned' THEN {lapsed} END)"
    found = scored(copy.published, copy.warehouse, f"{previous} AS previous_probabilities")
    assigned = dict(query(copy.published, "SELECT customer_id, probabilities FROM current_assignments"))
    assert found.keys() == assigned.keys()
    for customer, probabilities in assigned.items():
        assert found[customer] == pytest.approx(probabilities, abs=1e-9, rel=0)
    as_new = scored(copy.published, copy.warehouse, "NULL AS nothing")
    assert as_new.keys() == assigned.keys()
    assert as_new != found

    before = published_content(copy.published)
    states = query(copy.warehouse, "SELECT * FROM memory_states ORDER BY ALL")
    assert materialize(copy, "2023-05").success
    assert published_content(copy.published) == before
    assert query(copy.warehouse, "SELECT * FROM memory_states ORDER BY ALL") == states
