"""Is churn risk worth having, and are the early warnings? What the product publishes of two real shops, beside rivals.

Every month of CDNOW (July 1997 to June 1998) and of the demo is run by the command line, with CONTACTS places on the
contact list. Judged are the months that had a churn risk and whose 90 days were over when the last one closed: CDNOW's
November 1997 to March 1998, the demo's July to September 2017.

- Churn risk, all customers, out of time, beside BG/NBD (Fader, Hardie and Lee 2005; package lifetimes) fitted to
  everybody who had ever ordered, logistic regressions, and gradient boosting, each learned from the same months as the
  product's. Bars: on CDNOW AUC 0.715 and Brier 0.207, and no rival better; on the demo as good as before the history
  was among the inputs (AUC 0.893, Brier 0.035).
- Warnings and the contact list, from `warning_backtest`. Bars: churn risk is right more often than as many of the
  longest silent, on CDNOW beyond chance; the list is at least as right as as many of the highest churn risk.

`python churn_risk.py` runs both shops, in some twelve minutes; `python churn_risk.py CDNOW=FOLDER demo=FOLDER` reads
the warehouses of runs that there are.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import duckdb
import numpy as np
from real_months import HORIZON_DAYS, order_times, record, shops

from segment_pipeline.arrays import Array, Flags, Labels
from segment_pipeline.config.config import Config, load_config
from segment_pipeline.early_warnings.churn import (
    HISTORY,
    ChurnRisk,
    CustomerMonth,
    ForecastQuality,
    fit_churn_risk,
    forecast_quality,
    observed_before,
)
from segment_pipeline.months import as_of, month_key

WINDOW = ("days_since_last_order", "orders", "average_order_value")
EVER = ("days_since_last_order", "order_days", "age_days")

FIGURES = ("auc", "brier", "log_loss", "calibration_error", "calibration_slope")
HEADER = ("", "AUC", "Brier", "log loss", "calibration error", "calibration slope")


@dataclass(frozen=True, eq=False)
class Seen:
    """The customers of one closed month as rivals see them, and who of them then kept silent.

    window (n, 3) WINDOW; ever (n, 3) EVER, over all orders; history (n, 7) HISTORY, for a rival with the product's own
    inputs; silent (n,) no order in the horizon_days after the month. everybody (m, 3) repeat orders, age at the last
    order and age, in days, of all who had ever ordered; here (n,) the customers among them. published (n,) the
    product's churn risk; None before there was one.
    """

    month: date
    horizon_days: int
    window: Array
    ever: Array
    history: Array
    silent: Flags
    everybody: Array
    here: Labels
    published: Array | None


Rival = Callable[[Seen, Sequence[Seen]], Array]
"""(n,) probability of silence of a month's customers, learned from earlier months."""


def bg_nbd(now: Seen, _: Sequence[Seen]) -> Array:
    """Buys until it drops out; needs no labels. The chance of no order in the horizon, of one who has not dropped out,
    is that of a Poisson process whose rate is gamma distributed given the past."""
    from lifetimes import BetaGeoFitter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = BetaGeoFitter()
        model.fit(*now.everybody.T)
        repeats, last, age = now.everybody[now.here].T
        alive = np.asarray(model.conditional_probability_alive(repeats, last, age))
    r, alpha = model.params_["r"], model.params_["alpha"]
    return np.asarray(1 - alive * (1 - ((alpha + age) / (alpha + age + now.horizon_days)) ** (r + repeats)))


def logistic(inputs: Callable[[Seen], Array], *, products: bool = False) -> Rival:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    def predict(now: Seen, training: Sequence[Seen]) -> Array:
        degree = PolynomialFeatures(2 if products else 1, include_bias=False)
        model = make_pipeline(degree, StandardScaler(), LogisticRegression(max_iter=1000))
        return learned(model, inputs, now, training)

    return predict


def boosted(inputs: Callable[[Seen], Array]) -> Rival:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return lambda now, training: learned(HistGradientBoostingClassifier(random_state=0), inputs, now, training)


def learned(model: object, inputs: Callable[[Seen], Array], now: Seen, training: Sequence[Seen]) -> Array:
    model.fit(np.vstack([inputs(m) for m in training]), np.concatenate([m.silent for m in training]))
    return np.asarray(model.predict_proba(inputs(now))[:, 1])


def from_history(now: Seen, training: Sequence[Seen]) -> Array:
    """The churn risk, of the history alone: it needs no segments."""

    def customers(m: Seen) -> CustomerMonth:
        n = len(m.silent)
        ids, nothing = np.arange(n).astype(str), np.zeros((n, 1))
        return CustomerMonth(m.month, ids, nothing, nothing, nothing, m.silent, m.history)

    model = fit_churn_risk([customers(m) for m in training], now.month, now.horizon_days, groups=("history",))
    assert isinstance(model, ChurnRisk)
    return model.predict(customers(now))


def published(now: Seen, _: Sequence[Seen]) -> Array:
    assert now.published is not None
    return now.published


RIVALS: Mapping[str, Rival] = {
    "BG/NBD": bg_nbd,
    "logistic, recency alone": logistic(lambda m: np.log1p(m.window[:, :1])),
    "logistic, window RFM": logistic(lambda m: np.log1p(m.window)),
    "logistic, recency, frequency, age ever": logistic(lambda m: np.log1p(m.ever)),
    "the same, squares and products": logistic(lambda m: np.log1p(m.ever), products=True),
    "boosting, window RFM": boosted(lambda m: m.window),
    "boosting, recency, frequency, age ever": boosted(lambda m: m.ever),
    "boosting, the churn risk's history": boosted(lambda m: m.history),
}

METHODS: Mapping[str, Rival] = {
    "churn risk, as published": published,
    "churn risk, of the history alone": from_history,
    **RIVALS,
}

OTHER_HORIZONS = (30, 60, 120)
"""Days of silence that no choice of inputs was made on."""


def months_of(connection: duckdb.DuckDBPyConnection) -> Iterator[Seen]:
    """The months whose silence the run has come to know."""
    months = connection.execute("SELECT DISTINCT month FROM observed_silence ORDER BY 1").fetchall()
    for (month,) in months:
        everybody = connection.execute(
            """
            SELECT customer_id, count(DISTINCT CAST(ordered_at AS DATE)) AS order_days,
                date_diff('day', CAST(min(ordered_at) AS DATE), $as_of) AS age_days,
                date_diff('day', CAST(max(ordered_at) AS DATE), $as_of) AS days_since_last_order
            FROM order_times WHERE ordered_at < $as_of GROUP BY customer_id ORDER BY customer_id
            """,
            {"as_of": as_of(month)},
        ).fetchnumpy()
        found = connection.execute(
            f"""
            SELECT s.customer_id, s.silent, r.churn_risk, {", ".join(f"c.{name}" for name in WINDOW)},
                {", ".join(f"h.{name} AS ever_{name}" for name in HISTORY)}
            FROM observed_silence AS s JOIN raw_customers AS c USING (month, customer_id)
            JOIN order_histories AS h USING (month, customer_id)
            LEFT JOIN churn_risk AS r USING (month, customer_id)
            WHERE s.month = ? ORDER BY s.customer_id
            """,
            [month],
        ).fetchnumpy()
        here = np.searchsorted(everybody["customer_id"].astype(str), found["customer_id"].astype(str))
        age, silence = (everybody[name].astype(np.float64) for name in ("age_days", "days_since_last_order"))
        risk = doubles(found["churn_risk"])
        yield Seen(
            month,
            HORIZON_DAYS,
            window=np.column_stack([doubles(found[name]) for name in WINDOW]),
            ever=np.column_stack([everybody[name].astype(np.float64)[here] for name in EVER]),
            history=np.column_stack([doubles(found[f"ever_{name}"]) for name in HISTORY]),
            silent=np.asarray(found["silent"], dtype=bool),
            everybody=np.column_stack([everybody["order_days"] - 1.0, age - silence, age]),
            here=here,
            published=None if np.isnan(risk).any() else risk,
        )


def doubles(column: np.ndarray) -> Array:
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan))


def known_at(now: Seen, months: Sequence[Seen]) -> list[Seen]:
    """The months whose silence was known when this one closed."""
    return [m for m in months if observed_before(m.month, now.month, now.horizon_days)]


def judge(
    methods: Mapping[str, Rival], judged: Sequence[Seen], months: Sequence[Seen]
) -> dict[str, list[ForecastQuality]]:
    """How good each method is in each judged month, learned from those of `months` that were over by then."""
    return {
        name: [forecast_quality(method(now, known_at(now, months)), now.silent) for now in judged]
        for name, method in methods.items()
    }


def follow_risk(title: str, config: Config, connection: duckdb.DuckDBPyConnection) -> None:
    """Every method in every judged month, and the mean over the months."""
    last = order_times(connection, config)
    months = list(months_of(connection))
    judged = [m for m in months if m.published is not None]
    found = judge(METHODS, judged, months)
    means = {name: [float(np.mean([getattr(q, f) for q in of])) for f in FIGURES] for name, of in found.items()}
    span = f"{month_key(judged[0].month)} to {month_key(judged[-1].month)}"
    rows = [[name, *mean] for name, mean in means.items()]
    record(f"churn_risk-{title}", f"{title}: all customers, out of time, mean of {span}", HEADER, rows)
    record(
        f"churn_risk-{title}-months",
        f"{title}: AUC, Brier score",
        ("", *(month_key(m.month) for m in judged)),
        [[name, *(f"{q.auc:.3f}, {q.brier:.3f}" for q in of)] for name, of in found.items()],
    )
    first, *others = means.values()
    better = max(other[0] for other in others[1:]) <= first[0], min(other[1] for other in others[1:]) >= first[1]
    print(f"{title}: no rival has a higher AUC: {better[0]}; a lower Brier score: {better[1]}")
    if title == "CDNOW":  # so few of the demo fall silent that other horizons say no more
        follow_horizons(title, connection, months, judged, last)


def follow_horizons(
    title: str, connection: duckdb.DuckDBPyConnection, months: Sequence[Seen], judged: Sequence[Seen], last: date
) -> None:
    """The same of silences of other lengths, as far as the data go."""
    methods = {"churn risk, of the history alone": from_history, **RIVALS}
    columns: dict[str, list[str]] = {}
    for days in OTHER_HORIZONS:
        known = [m for m in months if as_of(m.month) + timedelta(days=days - 1) <= last]
        other = [replace(m, horizon_days=days, silent=silent_after(connection, m, days)) for m in known]
        chosen = [m for m in other if m.month in {one.month for one in judged} and len(known_at(m, other)) > 1]
        columns[f"{days} days, {len(chosen)} months"] = [
            f"{np.mean([q.auc for q in of]):.3f}, {np.mean([q.brier for q in of]):.3f}"
            for of in judge(methods, chosen, other).values()
        ]
    rows = [list(row) for row in zip(methods, *columns.values(), strict=True)]
    record(f"churn_risk-{title}-horizons", f"{title}: AUC, Brier score of other silences", ("", *columns), rows)


def silent_after(connection: duckdb.DuckDBPyConnection, m: Seen, days: int) -> Flags:
    """(n,) no order in so many days after the month."""
    found = connection.execute(
        """
        SELECT s.customer_id NOT IN (
            SELECT customer_id FROM order_times
            WHERE ordered_at >= $as_of AND ordered_at < CAST($as_of AS DATE) + to_days($days)
        ) AS silent
        FROM observed_silence AS s WHERE s.month = $month ORDER BY s.customer_id
        """,
        {"as_of": as_of(m.month), "days": days, "month": m.month},
    ).fetchnumpy()
    return np.asarray(found["silent"], dtype=bool)


def follow_warnings(title: str, connection: duckdb.DuckDBPyConnection) -> None:
    """The published back-test, pooled, and the contact list month by month."""
    pooled = connection.execute(
        """
        SELECT judged, warning, alerts, base_rate, precision, recency_precision, churn_risk_precision,
            CASE WHEN difference_low IS NOT NULL
                THEN printf('%.3f (%.3f to %.3f)', difference, difference_low, difference_high) END
        FROM warning_backtest WHERE month IS NULL AND alerts > 0 AND (judged = 'engaged' OR warning = 'any')
        ORDER BY judged <> 'engaged', judged, alerts DESC, warning
        """
    ).fetchall()
    header = (
        "judged",
        "warning",
        "alerts",
        "random",
        "right",
        "longest silent",
        "churn risk",
        "churn risk less silent",
    )
    record(f"churn_risk-{title}-warnings", f"{title}: warnings, pooled over the judged months", header, pooled)
    months = connection.execute(
        """
        SELECT coalesce(strftime(month, '%Y-%m'), 'pooled'), alerts, base_rate, recency_precision,
            churn_risk_precision, precision
        FROM warning_backtest WHERE judged = 'within_budget' AND warning = 'any' AND alerts > 0
        ORDER BY month NULLS LAST
        """
    ).fetchall()
    header = ("", "on the list", "random", "longest silent", "churn risk", "the list")
    record(f"churn_risk-{title}-list", f"{title}: the contact list", header, months)
    for warning, sentence in connection.execute(
        "SELECT warning, sentence FROM contact_list_rules "
        "WHERE month = (SELECT max(month) FROM contact_list_rules) ORDER BY ALL"
    ).fetchall():
        print(f"{title}, {warning}: {sentence}")
    *_, at_risk, listed = months[-1]
    print(f"{title}: the list is {'at least as right as' if listed >= at_risk else 'LESS right than'} churn risk alone")


def main(given: Sequence[str]) -> None:
    for title, ran in shops(given):
        with duckdb.connect(str(ran / "warehouse.duckdb"), read_only=True) as connection:
            follow_risk(title, load_config(ran / "segmentation.yaml"), connection)
        with duckdb.connect(str(ran / "segments.duckdb"), read_only=True) as connection:
            follow_warnings(title, connection)


if __name__ == "__main__":
    main(sys.argv[1:])
