"""Does churn risk foretell as many as fall silent, while the source's history is short?

The decaying counts of orders that it is learned from grow with the history, whatever customers do, so that what was
learned of earlier months may be too low a risk for later ones. Judged are all months of both shops that have two months
of known silence before them, 90 days, out of time: the counts as they are, in proportion to the length of the history,
and what is served, which is whichever of the two would have foretold the known months better. Of the history alone, as
the memberships need a run of all months.

Bars: on the demo the served share is nearer to what came than that of the counts as they are, on CDNOW no farther.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from real_months import CDNOW_LAST_JUDGED, DEMO, HORIZON_DAYS, order_times, record, write_cdnow

from segment_pipeline.config.config import Config, load_config
from segment_pipeline.database.store import prepare
from segment_pipeline.early_warnings.churn import (
    HISTORY,
    ChurnRisk,
    CustomerMonth,
    fit_churn_risk,
    forecast_quality,
    observed_before,
)
from segment_pipeline.early_warnings.histories_store import write_histories
from segment_pipeline.months import as_of, month_key, month_range
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.sources import load_raw_customers

COUNTS = slice(1, 4)
"""Where in HISTORY the decaying counts stand."""

HALF_LIVES = np.array([30.0, 60.0, 90.0])
WAYS = ("as they are", "in proportion", "served")


def customer_months(config: Config) -> Iterator[CustomerMonth]:
    """Each month whose 90 days the data cover, with the histories that the pipeline makes of it, and no memberships."""
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        last = order_times(connection, config)
        (first,) = connection.execute("SELECT CAST(min(ordered_at) AS DATE) FROM order_times").fetchone() or (last,)
        for month in month_range(config.first_month, config.last_month or config.first_month):
            end = as_of(month)
            if end + timedelta(days=HORIZON_DAYS) > last + timedelta(days=1):
                return
            load_raw_customers(connection, config, month)
            connection.execute(
                "INSERT INTO validated_features BY NAME SELECT month, customer_id FROM raw_customers WHERE month = ?",
                [month],
            )
            write_histories(connection, config, month)
            yield _read(connection, month, end, (end - first).days)


def _read(connection: duckdb.DuckDBPyConnection, month: date, end: date, days: int) -> CustomerMonth:
    found = connection.execute(
        f"""
        SELECT h.customer_id, {", ".join(HISTORY)}, h.customer_id NOT IN (
            SELECT customer_id FROM order_times
            WHERE ordered_at >= $end AND ordered_at < CAST($end AS DATE) + to_days({HORIZON_DAYS})
        ) AS silent
        FROM order_histories AS h WHERE month = $month ORDER BY customer_id
        """,
        {"end": end, "month": month},
    ).fetchnumpy()
    columns = [np.ma.filled(np.ma.asarray(found[name], dtype=np.float64), np.nan) for name in HISTORY]
    nothing = np.zeros((len(columns[0]), 1))
    ids, silent = found["customer_id"].astype(str), np.asarray(found["silent"], dtype=bool)
    return CustomerMonth(month, ids, nothing, nothing, nothing, silent, np.column_stack(columns), days)


def in_proportion(month: CustomerMonth) -> CustomerMonth:
    """The month with its counts divided by what the length of the history lets them be."""
    assert month.history is not None
    assert month.history_days is not None
    history = month.history.copy()
    history[:, COUNTS] /= 1.0 - 0.5 ** (month.history_days / HALF_LIVES)
    return replace(month, history=history, history_days=None)


def as_they_are(month: CustomerMonth) -> CustomerMonth:
    return replace(month, history_days=None)


def follow(title: str, config: Config) -> None:
    months = list(customer_months(config))
    rows, losses = [], []
    for now in months:
        training = [m for m in months if observed_before(m.month, now.month, HORIZON_DAYS)]
        if len(training) < 2:
            continue
        assert now.silent is not None
        told, served = [], ""
        for change in (as_they_are, in_proportion, None):
            seen = [m if change is None else change(m) for m in (*training, now)]
            model = fit_churn_risk(seen[:-1], now.month, HORIZON_DAYS, groups=("history",))
            assert isinstance(model, ChurnRisk)
            told.append(forecast_quality(model.predict(seen[-1]), now.silent))
            served = WAYS[model.by_length]
        losses.append([quality.log_loss for quality in told])
        foretold = [quality.mean_probability for quality in told]
        rows.append([month_key(now.month), float(now.silent.mean()), *foretold, served, *losses[-1]])
    means = [float(np.mean([row[i] for row in rows])) for i in (1, 2, 3, 4)]
    rows.append(["mean", *means, "-", *np.mean(losses, axis=0).tolist()])
    header = ("", "fell silent", *(f"foretold, {way}" for way in WAYS), "which", *(f"log loss, {way}" for way in WAYS))
    record(f"churn_level-{title}", f"{title}: share foretold to fall silent, out of time", header, rows)
    off = [float(np.mean([abs(row[i] - row[1]) for row in rows[:-1]])) for i in (2, 4)]
    print(f"{title}: off by {off[1]:.4f} as served, by {off[0]:.4f} with the counts as they are")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        follow("CDNOW", load_config(write_cdnow(Path(folder), last_month=CDNOW_LAST_JUDGED)))
    follow("demo", load_config(DEMO))


if __name__ == "__main__":
    main()
