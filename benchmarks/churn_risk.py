"""Are the early warnings worth having? Every named rule, churn risk, the longest silent and chance, on two real shops.

Each month as the pipeline would have known it: its champion, memberships of that champion only, and a churn risk that
learned from months whose 90 days were over when the month closed. Bar: pooled over all months with an observed horizon,
churn risk is right more often than the longest-silent customers at the rules' own volume, and on CDNOW the interval of
the difference lies above zero.

Besides, without a bar: all warnings among all customers. And the contact list, of CONTACTS a month, as the product
makes it of both shops with `model.memory`: every month run by the command line, figures of the published back-test.
Bar: at least as right as as many customers of the highest churn risk.

CDNOW is followed twice. From July 1997, as everywhere in this project, November is the first month with two months to
learn from. From April 1997 there are three more months to judge, at a price: until July every customer there ever was
is in the window, and what is learned from that does not hold for the settled base after it. The model was chosen on
those three months (August to October 1997) and on the demo, so that CDNOW from November on is unseen. Takes some two
minutes, and `list` five more.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import yaml
from real_months import DEMO, HORIZON_DAYS, MonthEnd, cdnow, demo, print_table, run, write_cdnow

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.early_warnings.backtest import BacktestRow, WarnedMonth, backtest
from segment_pipeline.early_warnings.churn import (
    GROUPS,
    CustomerMonth,
    ForecastQuality,
    Group,
    Refusal,
    fit_churn_risk,
    forecast_quality,
    observed_before,
    overdue,
)
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import DecisionInputs, decide
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import month_key
from segment_pipeline_tests.early_warnings.rules_in_numpy import engaged_in_either, mixed_warnings, movement_warnings

UNSEEN = date(1997, 11, 1)
"""The first of CDNOW's months that no choice was made on."""

CONTACTS = 100
"""How many customers a team contacts a month."""

GROUPS_TO_MEASURE: dict[str, tuple[Group, ...]] = {
    "recency only": ("features",),
    "memberships": ("memberships",),
    "+ shifts": ("memberships", "shifts"),
    "+ features": ("memberships", "shifts", "features"),
    "+ overdue (all)": GROUPS,
    "features only": ("features",),
    "features, overdue": ("features", "overdue"),
}


def champions_of(config: Config, ends: Sequence[MonthEnd]) -> list[SegmentModel]:
    """Who serves each month, decided month after month."""
    found: list[SegmentModel] = []
    next_id = 1
    for end in ends:
        previous = found[-1] if found else None
        space = FeatureSpace.fit(config.features, end.X)
        choice = fit_challengers(space, end.X, end.ids, config, previous).choice
        inputs = DecisionInputs(
            month=end.month,
            space=space,
            X=end.X,
            X_previous=end.X if previous is not None else None,
            recency=column(config, end, "days_since_last_order"),
            frequency=column(config, end, "orders"),
            challenger=choice.candidate.mixture if choice.candidate is not None else None,
            rationale=choice.rationale,
            previous=previous,
            next_version=1 if previous is None else previous.model_version + 1,
            next_segment_id=next_id,
        )
        found.append(decide(inputs, config).champion)
        next_id = max(next_id, *(segment_id + 1 for segment_id in found[-1].segment_ids))
    return found


def column(config: Config, end: MonthEnd, name: str) -> Array:
    if name in config.feature_names:
        return end.X[:, config.feature_names.index(name)]
    return end.aside[:, end.aside_names.index(name)]


def before_and_now(model: SegmentModel, end: MonthEnd, before: MonthEnd | None) -> tuple[Array, Array]:
    """(n, k) memberships now and, NaN for who was not there, a month earlier; one measuring champion."""
    R = model.responsibilities(end.X)
    earlier = np.full_like(R, np.nan)
    if before is not None:
        _, here, there = np.intersect1d(end.ids, before.ids, assume_unique=True, return_indices=True)
        earlier[here] = model.responsibilities(before.X)[there]
    return R, earlier


def customer_month(config: Config, model: SegmentModel, end: MonthEnd, before: MonthEnd | None) -> CustomerMonth:
    R, earlier = before_and_now(model, end, before)
    late = overdue(column(config, end, "days_since_last_order"), column(config, end, "days_between_orders"))
    return CustomerMonth(end.month, end.ids, model.space.transform(end.X), R, earlier, end.silent, late)


def warned(
    config: Config,
    end: MonthEnd,
    before: MonthEnd,
    measuring_champion: SegmentModel,
    own: SegmentModel,
    risk: Array | None,
) -> WarnedMonth:
    """The rules as the pipeline runs them: movement under the champion of the month before, mixed signals under the
    month's own; `any` is who has at least one of them. Engaged now is by the month's own champion as well."""
    R, earlier = before_and_now(measuring_champion, end, before)
    roles = [segment.role for segment in measuring_champion.segments]
    alerts = movement_warnings(R, earlier, roles)
    R_own, own_roles = own.responsibilities(end.X), [segment.role for segment in own.segments]
    alerts |= mixed_warnings(R_own, own_roles)
    anything = np.any(list(alerts.values()), axis=0)
    return WarnedMonth(
        end.month,
        end.ids,
        engaged_in_either(R_own, earlier, own_roles, roles_before=roles),
        alerts | {"any": anything},
        column(config, end, "days_since_last_order"),
        risk,
        end.silent,
    )


def follow(title: str, config: Config, ends: list[MonthEnd]) -> None:
    champions = champions_of(config, ends)
    months: list[WarnedMonth] = []
    quality: dict[str, list[tuple[date, ForecastQuality]]] = {name: [] for name in GROUPS_TO_MEASURE}
    recency = config.feature_names.index("days_since_last_order")
    for t in range(1, len(ends)):
        end, own = ends[t], champions[t]
        seen = [m for m in range(t) if observed_before(ends[m].month, end.month, HORIZON_DAYS)]
        training = [customer_month(config, own, ends[m], ends[m - 1] if m else None) for m in seen]
        now = customer_month(config, own, end, ends[t - 1])
        risk = None
        for name, groups in GROUPS_TO_MEASURE.items():
            narrow = _only(recency) if name == "recency only" else _as_it_is
            model = fit_churn_risk([narrow(m) for m in training], end.month, HORIZON_DAYS, groups=groups)
            if isinstance(model, Refusal):
                print(model.reason)
                break
            predicted = model.predict(narrow(now))
            if groups == GROUPS:
                risk = predicted
            if end.silent is not None:
                quality[name].append((end.month, forecast_quality(predicted, end.silent)))
        months.append(warned(config, end, ends[t - 1], champions[t - 1], own, risk))

    rows = backtest(months, HORIZON_DAYS)
    print_rows(f"{title}: every month, and pooled", rows)
    others = [row for row in backtest(months, HORIZON_DAYS, "everybody") if row.month is None]
    print_rows(f"{title}: all customers, pooled", others)
    starts_early = ends[0].month < date(1997, 7, 1)
    if starts_early:
        unseen = backtest([m for m in months if m.month >= UNSEEN], HORIZON_DAYS)
        print_rows(f"{title}: months from November 1997, pooled", [row for row in unseen if row.month is None])
        print_quality(f"{title}, months from November 1997", quality, UNSEEN)
    print_quality(title, quality, date.min)
    for row in rows:
        if row.month is None and row.difference is not None and row.difference_low is not None:
            verdict = "is right more often than" if row.difference > 0 else "is right NO more often than"
            surely = ", beyond chance" if row.difference_low > 0 else ""
            print(f"{title}, {row.warning}, {row.alerts} alerts: churn risk {verdict} the longest silent{surely}")


def follow_list(title: str, config: Path) -> None:
    """The contact list of every month that is judged, and why each rule does or does not take part in the last."""
    with run(config) as connection:
        rows = connection.execute(
            """
            SELECT coalesce(strftime(month, '%Y-%m'), 'pooled'), alerts, base_rate, recency_precision,
                churn_risk_precision, precision
            FROM warning_backtest WHERE judged = 'within_budget' AND warning = 'any' AND alerts > 0
            ORDER BY month NULLS LAST
            """
        ).fetchall()
        print_table(
            f"{title}: the contact list", ("month", "on it", "random", "longest silent", "churn risk", "the list"), rows
        )
        for warning, sentence in connection.execute(
            "SELECT warning, sentence FROM contact_list_rules "
            "WHERE month = (SELECT max(month) FROM contact_list_rules) ORDER BY ALL"
        ).fetchall():
            print(f"{title}, {warning}: {sentence}")
    *_, at_risk, listed = rows[-1]
    print(f"{title}: the list is {'at least as right as' if listed >= at_risk else 'LESS right than'} churn risk alone")


def write_demo(folder: Path) -> Path:
    """The demo's configuration in this folder; returns its path."""
    path = folder / "segmentation.yaml"
    path.write_text(DEMO.read_text())
    return path


def with_memory(config: Path) -> Path:
    """The configuration, with memory and CONTACTS places on the list."""
    keys = {"model": {"memory": True}, "warnings": {"monthly_budget": CONTACTS}}
    text = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(text | {name: (text.get(name) or {}) | more for name, more in keys.items()}))
    return config


def _only(feature: int) -> Callable[[CustomerMonth], CustomerMonth]:
    return lambda month: replace(month, Z=month.Z[:, [feature]], overdue=None)


def _as_it_is(month: CustomerMonth) -> CustomerMonth:
    return month


def print_rows(title: str, rows: Sequence[BacktestRow]) -> None:
    header = (
        "judged", "month", "warning", "alerts", "elsewhere", "eligible", "random", "rule", "low", "high", "recall",
        "lift", "churn risk", "longest silent", "difference", "low", "high", "lead days", "of risk", "of recency",
    )  # fmt: skip
    print_table(
        title,
        header,
        [
            [
                row.judged, "pooled" if row.month is None else month_key(row.month), row.warning, row.alerts,
                row.alerts_elsewhere, row.eligible, row.base_rate, row.precision, row.precision_low, row.precision_high,
                row.recall, row.lift, row.churn_risk_precision, row.recency_precision, row.difference,
                row.difference_low, row.difference_high, row.lead_time_days, row.churn_risk_lead_time_days,
                row.recency_lead_time_days,
            ]
            for row in rows
        ],
    )  # fmt: skip


def print_quality(title: str, quality: dict[str, list[tuple[date, ForecastQuality]]], since: date) -> None:
    names = (
        "auc", "brier", "log_loss", "base_rate", "mean_probability", "calibration_error", "calibration_slope",
    )  # fmt: skip
    print_table(
        f"{title}: what each group of inputs predicts out of time, all customers, mean over months",
        ("inputs", "months", *names),
        [
            [
                group,
                sum(month >= since for month, _ in found),
                *(float(np.mean([getattr(q, name) for month, q in found if month >= since])) for name in names),
            ]
            for group, found in quality.items()
            if found
        ],
    )
    print_table(
        f"{title}: calibration of the whole model, month by month",
        ("month", *names),
        [
            [month_key(month), *(getattr(q, name) for name in names)]
            for month, q in quality["+ overdue (all)"]
            if month >= since
        ],
    )


def main() -> None:
    chosen = sys.argv[1:]
    if "cdnow" in chosen or not chosen:
        follow("CDNOW", *cdnow())
    if "april" in chosen or not chosen:
        follow("CDNOW from April 1997", *cdnow(first_month="1997-04"))
    if "demo" in chosen or not chosen:
        follow("demo", *demo())
    if "list" in chosen or not chosen:
        for title, write in (("CDNOW", write_cdnow), ("demo", write_demo)):
            with tempfile.TemporaryDirectory() as folder:
                follow_list(title, with_memory(write(Path(folder))))


if __name__ == "__main__":
    main()
