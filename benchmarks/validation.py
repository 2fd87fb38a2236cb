"""model_validation over every month of CDNOW and of the demo, as the pipeline writes it, and what it costs.

Months are run by the command line; figures and times are read from the published file. Every month has every metric;
`-` stands for one that could not be known by the end of the month (no silence observed, no month before). `cost`
measures it alone, for made-up shops of 47,000 and of 1 million customers, in CPU seconds: beside it, at 47,000, stands
fit_challengers on the same customers. `python validation.py` runs both shops, with memory and without, in some
twenty minutes; `python validation.py CDNOW=FOLDER "demo alone=FOLDER" ...` reads runs that there are.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from real_months import print_table, record, shops

from segment_pipeline.config.config import load_config
from segment_pipeline.customers.space_store import write_feature_space
from segment_pipeline.database.rows import feature_matrix, insert_rows
from segment_pipeline.database.store import prepare
from segment_pipeline.early_warnings.churn_store import observe_silence
from segment_pipeline.mixture.candidates import fit_mixture
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import DecisionInputs, decide
from segment_pipeline.models.champions_store import write_decision
from segment_pipeline.models.tables import CANDIDATE_CHOICES, CANDIDATE_MODELS, CANDIDATE_PARAMETERS
from segment_pipeline.months import month_key
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.segments.assignments_store import write_assignments
from segment_pipeline.sources.sources import load_raw_customers
from segment_pipeline.validation.figures import METRICS
from segment_pipeline.validation.validation import validate
from segment_pipeline.validation.validation_store import read_evidence, write_validation

MONTHS = (date(2023, 3, 1), date(2023, 4, 1))
FITTED_ROWS = 20_000
"""What the champions of the made-up shops are fitted to: they only have to be there."""

SUBJECTS = ("memberships", "k-means", "recency", "features")
"""What predicts: the memberships, and what stands beside them."""

Found = dict[tuple[str, str], tuple[float | None, float | None, float | None]]
"""(metric, subject) -> value, low, high of one month."""

SHOP = """\
name: shop
first_month: 2023-03
last_month: 2023-04
source:
  window_months: 3
  orders: {path: orders.parquet, customer_id: customer, order_id: order_id, ordered_at: ordered_at, amount: amount}
warnings: {horizon_days: 30}  # so that the second month has every figure
features:
  - {name: days_since_last_order, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: orders, transform: log1p, resolution: 1, valid: {min: 1}}
  - {name: average_order_value, transform: log1p, resolution: 0.01, valid: {min: 0}}
"""


def follow(title: str, connection: duckdb.DuckDBPyConnection) -> dict[str, Found]:
    """The figures of every month."""
    months: dict[str, Found] = {}
    for (month,) in connection.execute("SELECT DISTINCT month FROM model_validation ORDER BY 1").fetchall():
        rows = connection.execute(
            "SELECT metric, subject, value, low, high FROM model_validation WHERE month = ?", [month]
        ).fetchall()
        found = {(metric, subject): figures for metric, subject, *figures in rows}
        assert set(METRICS) <= {metric for metric, _ in found}, month
        months[month_key(month)] = found
    record(
        f"validation-{title}",
        f"{title}: may it be trusted?",
        (
            "", "gap", "over seeds", "over time", "closest pair", "calibration", "a month ahead", "hybrids (95 %)",
            "against dominant (95 %)",
        ),
        [[month, *_trust(found)] for month, found in months.items()],
    )  # fmt: skip
    record(
        f"validation-{title}-predicts",
        f"{title}: silence (AUC) and next month's spend (R2)",
        ("", *(f"{what}: {subject}" for what in ("silence", "spend") for subject in SUBJECTS)),
        [
            [month, *(value(found, metric, subject) for metric in ("silence_auc", "spend_r2") for subject in SUBJECTS)]
            for month, found in months.items()
        ],
    )
    failed = connection.execute(
        "SELECT metric, count(DISTINCT month) FROM model_validation WHERE NOT passed "
        "AND (subject = '' OR metric NOT IN ('stability_over_time', 'calibration_error')) GROUP BY 1 ORDER BY 1"
    ).fetchall()
    print(f"{title}: months that fail, of {len(months)}: {dict(failed)}")
    for (sentence,) in connection.execute(
        "SELECT sentence FROM model_validation WHERE month = (SELECT max(month) FROM model_validation) "
        "AND (metric = 'hybrid_spend_ratio' OR metric = 'calibration_error' AND subject = '')"
    ).fetchall():
        print(f"{title}, last month: {sentence}")
    print_cost(title, connection)
    return months


def value(found: Found, metric: str, subject: str = "") -> float | None:
    return found.get((metric, subject), (None, None, None))[0]


def _trust(found: Found) -> list[object]:
    """The figures of a month that are not about what memberships predict."""
    single = ("heldout_gap", "stability_over_seeds", "stability_over_time")
    apart = min(figures[0] for (metric, _), figures in found.items() if metric == "separation")
    ratios = (found["hybrid_spend_ratio", subject] for subject in ("", "dominant"))
    return [
        *(value(found, metric) for metric in single),
        apart,
        value(found, "calibration_error"),
        value(found, "next_calibration_error"),
        *("{:.2f} ({:.2f} to {:.2f})".format(*ratio) for ratio in ratios),
    ]


def summarise(shops_months: Mapping[str, dict[str, Found]]) -> None:
    """What the pages say of both shops: of what hybrids spend the least and the most over the months, of what predicts
    the mean, and in how many months the features predict more than the memberships."""
    hybrids, predicts = [], []
    for title, months in shops_months.items():
        spans = []
        for subject in ("", "dominant"):
            ratios = [found["hybrid_spend_ratio", subject][0] for found in months.values()]
            spans.append(f"{min(ratios):.2f} to {max(ratios):.2f}")
        hybrids.append([title, len(months), *spans])
        for metric, what in (("silence_auc", "silence (AUC)"), ("spend_r2", "spend of the next month (R2)")):
            known = [found for found in months.values() if value(found, metric, "memberships") is not None]
            means = (float(np.mean([value(found, metric, subject) for found in known])) for subject in SUBJECTS)
            more = sum((value(found, f"{metric}_gain", "features") or 0.0) < 0 for found in known)
            predicts.append([f"{title}, {what}", *means, f"{more} of {len(known)}"])
    columns = ("", "months", "spend against all others", "against customers of a single segment")
    record("validation-hybrids", "What hybrid customers spend, times what others do", columns, hybrids)
    header = ("", *SUBJECTS, "months in which features do more")
    record("validation-predicts", "What predicts, mean over the months", header, predicts)


def print_cost(title: str, connection: duckdb.DuckDBPyConnection) -> None:
    cost = connection.execute(
        """
        SELECT strftime(month, '%Y-%m'), (SELECT count(*) FROM monthly_assignments AS a WHERE a.month = r.month),
            max(seconds) FILTER (asset = 'model_validation') AS validation,
            max(seconds) FILTER (asset = 'candidate_models') AS candidates, validation / candidates
        FROM pipeline_runs AS r GROUP BY month ORDER BY month
        """
    ).fetchall()
    print_table(f"{title}: seconds", ("month", "customers", "model_validation", "candidate_models", "ratio"), cost)


def write_shop(folder: Path, customers: int) -> Path:
    """Order lines of customers of three habits who vary, January to May 2023."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")  # or each run would draw other customers
        connection.execute("SELECT setseed(0.5)")
        connection.execute(f"""
            COPY (
                SELECT customer, CAST(customer AS VARCHAR) || '-' || visit AS order_id,
                    TIMESTAMP '2023-01-01' + to_minutes(CAST(floor(random() * 151 * 1440) AS BIGINT)) AS ordered_at,
                    round(worth * exp(random() + random() - 1), 2) AS amount
                FROM (
                    SELECT customer, worth, unnest(range(visits)) AS visit FROM (
                        SELECT range AS customer, [9.0, 20.0, 40.0][1 + range % 3] * exp(random() - 0.5) AS worth,
                            1 + CAST(floor([14, 5, 2][1 + range % 3] * (random() + random())) AS INTEGER) AS visits
                        FROM range({customers})
                    )
                )
            ) TO '{folder / "orders.parquet"}' (FORMAT parquet)
        """)
    path = folder / "segmentation.yaml"
    path.write_text(SHOP)
    return path


def cost(folder: Path, customers: int) -> list[object]:
    """Of the second month of a made-up shop: customers, those measured, CPU seconds to read, to compute and to write
    its figures, and how many times that fit_challengers takes."""
    config = load_config(write_shop(folder, customers))
    champion = None
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        for month in MONTHS:
            load_raw_customers(connection, config, month)
            connection.execute(
                f"INSERT INTO validated_features BY NAME SELECT month, customer_id, {', '.join(config.feature_names)} "
                "FROM raw_customers WHERE month = ?",
                [month],
            )
            _, X = feature_matrix(connection, "validated_features", month, config.model_feature_names, FITTED_ROWS)
            space = FeatureSpace.fit(config.model_features, X)
            mixture = fit_mixture(space.transform(X), 5, variance_floor=space.variance_floor)
            write_feature_space(connection, month, space, [], [])
            candidate = {"month": month, "n_components": 5, "covariance_type": mixture.covariance_type}
            for table, known in (
                (CANDIDATE_CHOICES, {"rationale": "made up"}),
                (CANDIDATE_PARAMETERS, {"parameters": json.dumps(mixture.to_plain())}),
                (CANDIDATE_MODELS, {"stability": 0.9, "selected": True}),
            ):
                insert_rows(connection, table, [dict.fromkeys(table.column_names) | candidate | known])
            before = champion
            version = 1 if before is None else before.model_version + 1
            inputs = DecisionInputs(
                month, space, X, None if before is None else X, None, None, mixture, "made up", before, version, 10
            )
            decision = decide(inputs, config)
            write_decision(connection, config, month, inputs, decision)
            champion = decision.champion
            write_assignments(connection, champion, month, config.tiers)
        observe_silence(connection, config, month)
        evidence, reading = timed(lambda: read_evidence(connection, config, month))
        figures, computing = timed(lambda: validate(evidence, config))
        connection.begin()
        _, writing = timed(lambda: write_validation(connection, evidence, figures))
        connection.commit()
        assert all(figure.value is not None for figure in figures)
        ids, X = feature_matrix(connection, "validated_features", month, config.feature_names, config.model.fit_sample)
    total, fitting = reading + computing + writing, None
    if len(ids) < FITTED_ROWS * 5:  # at a million the fit alone takes longer than all the rest here
        _, fitting = timed(lambda: fit_challengers(FeatureSpace.fit(config.model_features, X), X, ids, config, before))
    ratio = None if fitting is None else total / fitting
    return [f"{customers:,}", f"{len(evidence.X):,}", reading, computing, writing, total, fitting, ratio]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its CPU seconds, all threads together."""
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def main(given: Sequence[str]) -> None:
    if "cost" not in given:
        months = {}
        for title, ran in shops(given, alone=True):
            with duckdb.connect(str(ran / "segments.duckdb"), read_only=True) as connection:
                months[title] = follow(title, connection)
        summarise(months)
        return
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for customers in (47_000, 1_000_000):
            folder = Path(name) / str(customers)
            folder.mkdir()
            rows.append(cost(folder, customers))
    header = ("customers", "measured", "reading", "computing", "writing", "all", "fit_challengers", "ratio")
    record("validation-cost", "CPU seconds of model_validation", header, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
