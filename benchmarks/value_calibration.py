"""Expected spend of the next three months by how much was expected, and whether calibrating it by the past would pay.

Both shops, the months whose next three are known, the last four judged: BG/NBD and the blend, as they are and
calibrated. A calibration is learned from the forecasts of the months whose three are over at the end of the month that
is forecast, and leaves the total as it was: a straight line (least squares, errors in proportion to the root of the
forecast), the quotients of what came over what was expected in ten bins, and a regression on both forecasts that the
blend is made of. Bar: a calibration that takes away the bias of the small must not cost mean absolute error.

`python value_calibration.py` prints the table; half a minute on one core.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
from real_months import CDNOW_LAST, DEMO, record, write_cdnow

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.config.source import resolve_source_path
from segment_pipeline.months import add_months, as_of, month_range
from segment_pipeline.value.buyers_store import expected_sql, fit_buyers, write_pasts

HORIZON = 3
JUDGED = 4
TENTHS = 10
LEAST = 0.05
"""Of the mean forecast: so much is added to a forecast where it is a weight or a divisor."""


@dataclass(frozen=True, eq=False)
class Month:
    """Customers with an order in the window: (n,) money by BG/NBD, by the own window at its total, and what came."""

    bg_nbd: Array
    own: Array
    came: Array

    @property
    def blend(self) -> Array:
        return (self.bg_nbd + self.own) / 2.0


def months_of(config: Config, last: date) -> list[Month]:
    """Every month of the configuration whose next three are over by the end of the last."""
    orders, window = config.source.orders, config.source.window_months
    assert orders is not None
    found = []
    with duckdb.connect() as connection:
        connection.execute(f"""
            CREATE TABLE order_days AS SELECT CAST({orders.customer_id} AS VARCHAR) AS customer_id,
                CAST({orders.ordered_at} AS DATE) AS day, CAST(sum({orders.amount}) AS DOUBLE) AS spend
            FROM '{resolve_source_path(orders.path[0], config.path.parent)}' WHERE {orders.where} GROUP BY ALL
        """)
        for month in month_range(config.first_month, add_months(last, -HORIZON)):
            end, until = as_of(month), as_of(add_months(month, HORIZON))
            write_pasts(connection, month, window)
            model = fit_buyers(connection)
            assert model is not None
            there = f"SELECT DISTINCT customer_id FROM order_days WHERE day < DATE '{end}'"
            there += f" AND day >= DATE '{add_months(end, -window)}'"
            rows = connection.execute(f"""
                SELECT b.bg_nbd_{HORIZON} AS bg_nbd, greatest(p.in_window, 0) AS own, coalesce(s.spend, 0) AS came
                FROM ({expected_sql(connection, model, month, f"({there})")}) AS b JOIN pasts AS p USING (customer_id)
                LEFT JOIN (
                    SELECT customer_id, sum(spend) AS spend FROM order_days
                    WHERE day >= DATE '{end}' AND day < DATE '{until}' GROUP BY customer_id
                ) AS s USING (customer_id) ORDER BY customer_id
            """).fetchnumpy()
            bg_nbd, own, came = (np.asarray(rows[name], dtype=np.float64) for name in ("bg_nbd", "own", "came"))
            found.append(Month(bg_nbd, own * bg_nbd.sum() / own.sum(), came))
    return found


Base = Callable[[Month], Array]


def a_line(past: list[Month], now: Month, base: Base) -> Array:
    return _regressed(past, now, base, lambda month: [base(month)])


def both_regressed(past: list[Month], now: Month, base: Base) -> Array:
    return _regressed(past, now, base, lambda month: [month.bg_nbd, month.own])


def _regressed(past: list[Month], now: Month, base: Base, on: Callable[[Month], list[Array]]) -> Array:
    def design(month: Month) -> Array:
        return np.column_stack([np.ones(len(month.came)), *on(month)])

    forecast, came = _known(past, base)
    root = np.sqrt(forecast + LEAST * forecast.mean())
    fit, *_ = np.linalg.lstsq(
        np.concatenate([design(month) for month in past]) / root[:, None], came / root, rcond=None
    )
    return np.asarray(design(now) @ fit)


def by_tenths(past: list[Month], now: Month, base: Base) -> Array:
    forecast, came = _known(past, base)
    bins = np.array_split(np.argsort(forecast), TENTHS)
    means = np.array([forecast[one].mean() for one in bins])
    quotients = np.array([came[one].sum() / forecast[one].sum() for one in bins])
    return np.asarray(base(now) * np.interp(base(now), means, quotients))


def _known(past: list[Month], base: Base) -> tuple[Array, Array]:
    """What was forecast and what came, each month's at the total of its forecasts: not the level is to be learned."""
    came = [month.came * base(month).sum() / month.came.sum() for month in past]
    return np.concatenate([base(month) for month in past]), np.concatenate(came)


def judged(
    months: list[Month], base: Base, calibrate: Callable[[list[Month], Month, Base], Array] | None
) -> list[object]:
    """Forecasts, mean absolute error, root mean square error, bias, and that of each tenth of the forecasts."""
    forecasts, comes = [], []
    for at in range(len(months) - JUDGED, len(months)):
        now, past = months[at], months[: at - HORIZON + 1]
        found = base(now) if calibrate is None else np.maximum(calibrate(past, now, base), 0.0)
        forecasts.append(found * base(now).sum() / found.sum())
        comes.append(now.came)
    forecast, came = np.concatenate(forecasts), np.concatenate(comes)
    error = forecast - came
    tenths = np.array_split(np.argsort(forecast), TENTHS)
    biases = [float(forecast[one].sum() / came[one].sum() - 1.0) for one in tenths]
    whole = float(forecast.sum() / came.sum() - 1.0)
    return [len(came), float(np.abs(error).mean()), float(np.sqrt((error**2).mean())), whole, *biases]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        cdnow = load_config(write_cdnow(Path(folder), last_month=CDNOW_LAST))
        assert cdnow.last_month is not None
        shops = {"CDNOW": months_of(cdnow, cdnow.last_month)}
    demo = load_config(DEMO)
    assert demo.last_month is not None
    shops["demo"] = months_of(demo, demo.last_month)
    bases: dict[str, Base] = {"bg_nbd": lambda month: month.bg_nbd, "blend": lambda month: month.blend}
    ways = {"none": None, "a line": a_line, "by tenths": by_tenths, "both regressed": both_regressed}
    rows = [
        [shop, method, way, *judged(months, base, calibrate)]
        for shop, months in shops.items()
        for method, base in bases.items()
        for way, calibrate in ways.items()
    ]
    header = ("data", "method", "calibrated", "forecasts", "mean absolute error", "root mean square", "bias")
    record("value_calibration", "and bias by tenth of what is expected", (*header, *map(str, range(1, 11))), rows)


if __name__ == "__main__":
    main()
