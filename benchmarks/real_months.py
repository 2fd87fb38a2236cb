"""Month-ends of two real shops, made by the pipeline's own SQL: CDNOW (package lifetimes) and the demo's households.

Each month has its customers' features in original units and, where the data run on for 90 days after it, who then kept
silent. CDNOW's file ends with June 1998, so that its last month-end here, March 1998, is just observed; the demo's ends
with 2017, so that September is its last.
"""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import yaml

from segment_pipeline.arrays import Array, Flags, Labels, Texts
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.database.store import prepare
from segment_pipeline.months import as_of, month_range
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline.sources.sources import load_raw_customers

HORIZON_DAYS = 90
CONTACTS = 100
"""How many customers a team contacts a month."""
CDNOW_WINDOW_MONTHS = 6
"""At nine months the whole cohort of early 1997 is in the window until September; at six the base settles from there,
at 6,000 to 7,000 customers, half of them with one order."""
CDNOW_LAST_JUDGED, CDNOW_LAST = "1998-03", "1998-06"
"""The last month that the data run on for 90 days after, and the last of all."""

CDNOW_FEATURES = """
features:
  - {name: days_since_last_order, unit: days, transform: log1p, resolution: 1, valid: {min: 0}}
  - {name: orders, unit: orders, transform: log1p, resolution: 1, valid: {min: 1}}
  - {name: average_order_value, unit: USD, transform: log1p, resolution: 0.01, valid: {min: 0}}
"""
TABLES_FOLDER = Path(__file__).parent / "tables"
DEMO = Path(__file__).parent.parent / "data" / "segmentation.yaml"


@dataclass(frozen=True, eq=False)
class MonthEnd:
    """ids (n,), ascending. X (n, d) original units. silent (n,) no order in the 90 days after as_of; None where the
    data do not run on for so long. orders_next (n,) orders in the month after as_of; None likewise. aside (n, e)
    original units: what the same orders tell and no feature says, such as the tenure; aside_names names the columns."""

    month: date
    ids: Texts
    X: Array
    silent: Flags | None
    orders_next: Labels | None
    aside: Array
    aside_names: tuple[str, ...]


def cdnow(window_months: int = CDNOW_WINDOW_MONTHS, first_month: str = "1997-07") -> tuple[Config, list[MonthEnd]]:
    """Month-ends of CDNOW, from July 1997 (or first_month) to March 1998."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_cdnow(Path(folder), window_months, first_month)
        config = load_config(path)
        return config, _month_ends(config)


def write_cdnow(
    folder: Path,
    window_months: int = CDNOW_WINDOW_MONTHS,
    first_month: str = "1997-07",
    last_month: str = CDNOW_LAST_JUDGED,
) -> Path:
    """CDNOW's orders and a configuration for them, in this folder; returns the path of the configuration."""
    spec = importlib.util.find_spec("lifetimes")  # finds it without importing it
    if spec is None or spec.origin is None:
        raise SystemExit("CDNOW comes with the package lifetimes: pip install lifetimes")
    text = Path(spec.origin).parent / "datasets" / "CDNOW_master.txt"
    duckdb.execute(f"""
        COPY (
            SELECT words[1] AS customer, strptime(words[2], '%Y%m%d') AS ordered_at,
                CAST(words[4] AS DOUBLE) AS amount, row_number() OVER () AS order_id
            FROM (
                SELECT regexp_split_to_array(trim(line), '\\s+') AS words
                FROM read_csv('{text}', columns = {{'line': 'VARCHAR'}}, delim = '\\t', skip = 1, header = false)
            )
        ) TO '{folder / "orders.parquet"}' (FORMAT parquet)
    """)
    path = folder / "segmentation.yaml"
    path.write_text(
        f"name: cdnow\nfirst_month: {first_month}\nlast_month: {last_month}\n"
        f"source:\n  window_months: {window_months}\n"
        "  orders: {path: orders.parquet, customer_id: customer, order_id: order_id, ordered_at: ordered_at, "
        f"amount: amount, where: amount > 0}}\n{CDNOW_FEATURES}"
    )
    return path


def demo() -> tuple[Config, list[MonthEnd]]:
    """The ten month-ends of the demo, March to December 2017."""
    config = load_config(DEMO)
    return config, _month_ends(config)


def _month_ends(config: Config) -> list[MonthEnd]:
    orders = config.source.orders
    assert orders is not None
    assert config.last_month is not None
    in_model = config.model_feature_names
    aside = tuple(
        name
        for name in config.raw_feature_names
        if name not in in_model and not ORDER_FEATURES[name].lacks(orders.model_fields_set)
    )
    valid = " AND ".join(
        f"{feature.name} >= {feature.valid.min}" for feature in config.model_features if feature.valid.min is not None
    )
    found = []
    with duckdb.connect() as connection:
        prepare(connection, TABLES, config.raw_feature_names)
        last = order_times(connection, config)
        for month in month_range(config.first_month, config.last_month):
            load_raw_customers(connection, config, month)
            columns = connection.execute(
                f"""
                SELECT customer_id, {", ".join(config.raw_feature_names)}, customer_id NOT IN (
                    SELECT customer_id FROM order_times
                    WHERE ordered_at >= $as_of AND ordered_at < $as_of + INTERVAL {HORIZON_DAYS} DAY
                ) AS silent, (
                    SELECT count(DISTINCT order_id) FROM order_times AS o
                    WHERE o.customer_id = raw_customers.customer_id
                        AND ordered_at >= $as_of AND ordered_at < $as_of + INTERVAL 1 MONTH
                ) AS orders_next
                FROM raw_customers WHERE month = $month AND {valid} ORDER BY customer_id
                """,
                {"as_of": as_of(month), "month": month},
            ).fetchnumpy()
            days_left = (last - as_of(month)).days + 1
            found.append(
                MonthEnd(
                    month,
                    np.asarray(columns["customer_id"]).astype(str),
                    np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in in_model]),
                    np.asarray(columns["silent"], dtype=bool) if days_left >= HORIZON_DAYS else None,
                    np.asarray(columns["orders_next"], dtype=np.intp) if days_left >= 28 else None,
                    np.column_stack([np.asarray(columns[name], dtype=np.float64) for name in aside]),
                    aside,
                )
            )
    return found


def order_times(connection: duckdb.DuckDBPyConnection, config: Config) -> date:
    """Fill the temporary table `order_times`: every order ever, by customer_id, order_id and ordered_at, once a line;
    returns the last day of all."""
    orders = config.source.orders
    assert orders is not None
    connection.execute(f"""
        CREATE TEMP TABLE order_times AS SELECT CAST({orders.customer_id} AS VARCHAR) AS customer_id,
            CAST({orders.order_id} AS VARCHAR) AS order_id, CAST({orders.ordered_at} AS TIMESTAMP) AS ordered_at
        FROM '{resolve_source_path(orders.path[0], config.path.parent)}' WHERE {orders.where}
    """)
    (last,) = connection.execute("SELECT CAST(max(ordered_at) AS DATE) FROM order_times").fetchone() or (date.min,)
    return last


def shops(given: Sequence[str], *, alone: bool = False) -> Iterator[tuple[str, Path]]:
    """The name of each shop and the folder in which all its months have been run: CDNOW, to the end of its file, and
    the demo, with CONTACTS places on the contact list. alone : besides, "CDNOW alone" and "demo alone", which have no
    memory. given : NAME=FOLDER of runs that there are already."""
    if given:
        yield from ((name, Path(ran)) for name, _, ran in (text.partition("=") for text in given))
        return
    for name, memory in product(("CDNOW", "demo"), (True, False) if alone else (True,)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / DEMO.name
            if name == "CDNOW":
                write_cdnow(Path(folder), last_month=CDNOW_LAST)
            else:
                path.write_text(DEMO.read_text())
            text = yaml.safe_load(path.read_text())
            for section, key, value in (("warnings", "monthly_budget", CONTACTS), ("model", "memory", memory)):
                text[section] = (text.get(section) or {}) | {key: value}
            path.write_text(yaml.safe_dump(text))
            run(path).close()
            yield name if memory else f"{name} alone", Path(folder)


def run(config: Path) -> duckdb.DuckDBPyConnection:
    """Every month, in a process of its own; returns a connection to the published file."""
    command = [sys.executable, "-m", "segment_pipeline.cli.main", "run", "--config", str(config), "--quiet"]
    subprocess.run(command, check=True)
    return duckdb.connect(str(config.parent / "segments.duckdb"), read_only=True)


def silence_auc(predictors: Array, silent: Flags) -> float:
    """Area under the ROC curve with which a logistic regression on the predictors predicts silence, out of fold."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(C=100.0, max_iter=2000)
    predicted = cross_val_predict(model, predictors, silent, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(silent, predicted))


def kmeans_labels(Z: Array, k: int) -> Array:
    """(n, k) one column per cluster of scikit-learn's k-means, best of ten starts."""
    from sklearn.cluster import KMeans

    return np.eye(k)[KMeans(k, n_init=10, random_state=0).fit_predict(Z)]


def keep_their_segment(before: MonthEnd, after: MonthEnd, labels_before: Array, labels_after: Array) -> float:
    """Share of the customers of both months whose label is the same."""
    _, i, j = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    return float(np.mean(labels_before[i] == labels_after[j]))


def record(
    name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *, of: Iterable[str] = ()
) -> list[list[str]]:
    """Prints a table, and writes it to tables/NAME.md, blanks as hyphens, from where `make docs` copies it into the
    pages that show it. Returns the rows as they stand there.

    of : what the rows may begin with, in order, of a table that is made in pieces: lines that are there already stay
    where no row begins as they do."""
    path = TABLES_FOLDER / f"{name.lower().replace(' ', '-')}.md"
    texts = [[_text(value) for value in row] for row in rows]
    order = list(of)
    if order and path.exists():
        made = {row[0] for row in texts}
        lines = path.read_text(encoding="utf-8").splitlines()[2:]
        kept = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
        texts = sorted((*texts, *(row for row in kept if row[0] not in made)), key=lambda row: order.index(row[0]))
    print_table(title, header, texts)
    TABLES_FOLDER.mkdir(exist_ok=True)
    lines = [f"| {' | '.join(line)} |\n" for line in (header, ["---"] * len(header), *texts)]
    path.write_text("".join(lines), encoding="utf-8")
    return texts


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows as aligned columns."""
    texts = [list(header), *([_text(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    print(f"\n{title}")
    for row in texts:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
