"""model_validation over every month of CDNOW and of the demo, as the pipeline writes it, and what it costs.

Months are run by the command line; figures and times are read from the published file. Every month has every metric;
`-` stands for one that could not be known by the end of the month (no silence observed, no month before). Cost is that
of the asset beside the same month's candidate_models, which fits the challengers; also for made-up shops of 47,000
(`cost`) and of 1 million customers (`million`). Takes some two minutes, and with these some five more.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
from real_months import DEMO, print_table, write_cdnow

from segment_pipeline.months import month_key
from segment_pipeline.segmentation.validation import METRICS

FIGURES = {
    "gap": ("heldout_gap", ""),
    "over seeds": ("stability_over_seeds", ""),
    "over time": ("stability_over_time", ""),
    "AUC": ("silence_auc", "memberships"),
    "k-means": ("silence_auc", "k-means"),
    "recency": ("silence_auc", "recency"),
    "R2": ("spend_r2", "memberships"),
    " k-means": ("spend_r2", "k-means"),
    " recency": ("spend_r2", "recency"),
    "calibration": ("calibration_error", ""),
}

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


def run(config: Path) -> duckdb.DuckDBPyConnection:
    """Every month, in a process of its own; returns a connection to the published file."""
    command = [sys.executable, "-m", "segment_pipeline.cli", "run", "--config", str(config), "--quiet"]
    subprocess.run(command, check=True)
    return duckdb.connect(str(config.parent / "segments.duckdb"), read_only=True)


def follow(title: str, config: Path) -> None:
    with run(config) as connection:
        months = connection.execute("SELECT DISTINCT month FROM model_validation ORDER BY 1").fetchall()
        rows = []
        for (month,) in months:
            found = connection.execute(
                "SELECT metric, subject, value, low, high FROM model_validation WHERE month = ?", [month]
            ).fetchall()
            value = {(metric, subject): number for metric, subject, number, _, _ in found}
            assert {metric for metric, _ in value} == set(METRICS), month
            (ratio,) = [row[2:] for row in found if row[0] == "hybrid_spend_ratio"]
            apart = [number for (metric, _), number in value.items() if metric == "separation"]
            rows.append([month_key(month), *(value.get(place) for place in FIGURES.values()), min(apart), *ratio])
        print_table(title, ("month", *FIGURES, "closest pair", "hybrids", "low", "high"), rows)
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


def main() -> None:
    chosen = sys.argv[1:] or ["cdnow", "demo", "cost", "million"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "cdnow" in chosen:
            (folder / "cdnow").mkdir()
            follow("CDNOW", write_cdnow(folder / "cdnow"))
        if "demo" in chosen:
            (folder / "demo").mkdir()
            follow("demo", Path(shutil.copy(DEMO, folder / "demo")))
        for size, customers in {"cost": 47_000, "million": 1_000_000}.items():
            if size in chosen:
                (folder / size).mkdir()
                with run(write_shop(folder / size, customers)) as connection:
                    print_cost(f"A shop of {customers:,} customers", connection)


if __name__ == "__main__":
    main()
