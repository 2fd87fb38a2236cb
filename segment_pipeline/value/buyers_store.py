"""What each customer's past says of purchases and their worth, inside the database.

Here: the pasts, the fit to a sample of all of them, the closed forms of buyers.py as SQL. Not here: the other methods
and what is made of all (value_store.py).
"""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from segment_pipeline import helper
from segment_pipeline.database.quoting import number, visible
from segment_pipeline.database.rows import exact_sum, hashed_below, read_columns
from segment_pipeline.mixture.estimator import one_blas_thread
from segment_pipeline.months import add_months, as_of
from segment_pipeline.value.buyers import MOST_SILENCE, PurchaseModel, SpendModel, fit_purchases, fit_spend
from segment_pipeline.value.methods import HORIZONS

FITTED = 25_000
"""Customers that a model is fitted to: its parameters are then known to a few per cent."""


@dataclass(frozen=True)
class BuyerModel:
    """net : what is left of what is bought once returns are taken off, as a share; of most shops near 1."""

    purchases: PurchaseModel
    spend: SpendModel
    net: float


def write_pasts(connection: duckdb.DuckDBPyConnection, month: date, window_months: int) -> None:
    """Fill the temporary table `pasts` with everybody who has bought something before the end of the month, by
    `order_days` of all customers: repeats, recency and age in days, `spent` on days of purchases, `net` of all days,
    `in_window` and `in_month` of those of the window and of the month.

    A purchase is a day on which more was bought than came back.
    """
    end = as_of(month)
    since = f"FILTER (day >= DATE '{add_months(end, -window_months)}')"
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE pasts AS
        SELECT customer_id, CAST(count(*) FILTER (spend > 0) - 1 AS DOUBLE) AS repeats,
            CAST(date_diff('day', min(day) FILTER (spend > 0), max(day) FILTER (spend > 0)) AS DOUBLE) AS recency,
            CAST(date_diff('day', min(day) FILTER (spend > 0), DATE '{end}') AS DOUBLE) AS age,
            {exact_sum("greatest(spend, 0E0)")} AS spent, {exact_sum("spend")} AS net,
            coalesce(CAST(sum(CAST(spend AS DECIMAL(38, 4))) {since} AS DOUBLE), 0E0) AS in_window,
            coalesce(CAST(sum(CAST(spend AS DECIMAL(38, 4))) FILTER (day >= DATE '{month}') AS DOUBLE), 0E0) AS in_month
        FROM order_days WHERE day < DATE '{end}' AND {visible("customer_id")}
        GROUP BY customer_id HAVING count(*) FILTER (spend > 0) > 0
    """)


def fit_buyers(connection: duckdb.DuckDBPyConnection) -> BuyerModel | None:
    """The models of `pasts`, of a reproducible sample where they are many; None where nobody has bought anything."""
    customers, net = connection.execute(
        f"SELECT count(*), {exact_sum('net')} / {exact_sum('spent')} FROM pasts"
    ).fetchall()[0]
    if not customers:
        return None
    drawn = hashed_below("customer_id", FITTED / customers) if customers > FITTED else "true"
    columns = read_columns(
        connection, f"SELECT repeats, recency, age, spent FROM pasts WHERE {drawn} ORDER BY customer_id"
    )
    repeats, recency, age, spent = (np.asarray(values, dtype=np.float64) for values in columns.values())
    purchases = repeats + 1.0
    with one_blas_thread():  # two wait for each other longer than they compute
        of_purchases = helper.aside(fit_purchases, repeats, recency / 7.0, age / 7.0)
        of_spend = fit_spend(purchases, spent / purchases)
        return BuyerModel(of_purchases(), of_spend, max(0.0, net))


def expected_sql(connection: duckdb.DuckDBPyConnection, model: BuyerModel, month: date, customers: str) -> str:
    """A query of customer_id and `bg_nbd_3`, `bg_nbd_12`, by the month's end, of those of `pasts` in the relation
    `customers`.

    The hypergeometric function depends on repeats and age alone: it is looked up in the temporary table `purchases`,
    which has a row for each pair of them.
    """
    pairs = read_columns(
        connection, f"SELECT DISTINCT repeats, age FROM pasts SEMI JOIN {customers} USING (customer_id) ORDER BY ALL"
    )
    repeats, age = (np.asarray(values, dtype=np.float64) for values in pairs.values())
    found = {
        f"within_{horizon}": model.purchases.if_alive(
            repeats, age / 7.0, (add_months(as_of(month), horizon) - as_of(month)).days / 7.0
        )
        for horizon in HORIZONS
    }
    # where the series does not converge nothing is said of the customer
    known = {name: pa.array(values, mask=~np.isfinite(values)) for name, values in found.items()}
    connection.register("looked_up", pa.table({"repeats": repeats, "age": age, **known}))
    connection.execute("CREATE OR REPLACE TEMP TABLE purchases AS SELECT * FROM looked_up")
    connection.unregister("looked_up")
    of = ", ".join(
        f"within_{horizon} / (1E0 + {_lost_odds(model.purchases)}) * {_worth(model)} AS bg_nbd_{horizon}"
        for horizon in HORIZONS
    )
    return f"""
        SELECT p.customer_id, {of} FROM pasts AS p SEMI JOIN {customers} AS c ON c.customer_id = p.customer_id
        JOIN purchases AS w ON w.repeats = p.repeats AND w.age = p.age
    """


def _lost_odds(model: PurchaseModel) -> str:
    """`PurchaseModel.lost_odds` over days."""
    alpha, r = number(model.alpha * 7.0), number(model.r)
    silence = f"({r} + p.repeats) * ln(({alpha} + p.age) / ({alpha} + p.recency))"
    return f"""CASE WHEN p.repeats > 0E0 THEN {number(model.a)} / ({number(model.b)} + p.repeats - 1E0)
        * exp(least({silence}, {number(MOST_SILENCE)})) ELSE 0E0 END"""


def _worth(model: BuyerModel) -> str:
    """`SpendModel.expected` of one purchase, less returns."""
    p, q, scale = (number(value) for value in (model.spend.p, model.spend.q, model.spend.scale))
    return f"{number(model.net)} * {p} * ({scale} + p.spent) / ({p} * (p.repeats + 1E0) + {q} - 1E0)"
