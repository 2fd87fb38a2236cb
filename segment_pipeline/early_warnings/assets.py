"""How likely a customer is to fall silent, what that would cost, whom to worry about, and whether such worries came
true."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline.campaigns.assets import customer_actions
from segment_pipeline.customers.assets import raw_customers, validated_features
from segment_pipeline.early_warnings.tables import (
    CHURN_RISK,
    CHURN_RISK_MODELS,
    CHURN_RISK_QUALITY,
    CONTACT_LIST_RULES,
    EARLY_WARNINGS,
    OBSERVED_SILENCE,
    ORDER_HISTORIES,
    WARNING_BACKTEST_HISTORY,
)
from segment_pipeline.models.assets import selected_model
from segment_pipeline.orchestration.metadata import as_list, as_table
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.segments.assets import monthly_assignments, transition_deltas
from segment_pipeline.value.methods import METHODS
from segment_pipeline.value.tables import (
    CUSTOMER_VALUE,
    CUSTOMER_VALUE_QUALITY,
    OBSERVED_SPEND,
    SEGMENT_VALUE,
    SEGMENT_VALUE_QUALITY,
    SPEND_FORECASTS,
)
from segment_pipeline.words import percent, points

if TYPE_CHECKING:
    from segment_pipeline.early_warnings.backtest import BacktestRow
    from segment_pipeline.early_warnings.churn import ChurnRisk, ForecastQuality, Refusal

Row = Mapping[str, Any]


@monthly_asset(
    CHURN_RISK,
    beside=[OBSERVED_SILENCE, ORDER_HISTORIES, CHURN_RISK_MODELS, CHURN_RISK_QUALITY],
    # It reads the months before as well, as they were known at this month's end.
    deps=[raw_customers, validated_features, selected_model, monthly_assignments],
)
def churn_risk(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.early_warnings.churn_store import observe_silence, write_churn_risk, write_quality

    with pipeline.step(context) as step:
        observed = observe_silence(step.connection, step.config, step.month)
        step.rows, model = write_churn_risk(step.connection, step.config, step.month)
        quality = write_quality(step.connection, step.config, step.month, observed)
    return step.result({**_learned(model), "quality": _quality(quality)})


def _learned(model: "ChurnRisk | Refusal") -> dict[str, Any]:
    from segment_pipeline.early_warnings.churn import Refusal

    if isinstance(model, Refusal):
        return {"refused": model.reason, "learned_from_customers": 0, "learned_from_silent": 0}
    return {"refused": "no", "learned_from_customers": model.customers, "learned_from_silent": model.events}


def _quality(quality: "Iterable[tuple[date, str, ForecastQuality]]") -> dg.MarkdownMetadataValue:
    return as_list(
        (
            f"{month:%Y-%m}, {inputs}: AUC {found.auc:.3f}, log loss {found.log_loss:.3f}, "
            f"calibration error {found.calibration_error:.3f}"
            for month, inputs, found in quality
        ),
        otherwise="No month with a churn risk has become known.",
    )


@monthly_asset(
    CUSTOMER_VALUE,
    beside=[SPEND_FORECASTS, OBSERVED_SPEND, CUSTOMER_VALUE_QUALITY, SEGMENT_VALUE, SEGMENT_VALUE_QUALITY],
    # It stands here, and not in its own room, because what is at risk is the risk's and the value's together.
    deps=[raw_customers, selected_model, monthly_assignments, churn_risk],
    follows_itself=True,  # the forecasts of the months before, of which this month knows what came
)
def customer_value(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.value.value_store import money_of, quality_of, segments_money, write_value

    with pipeline.step(context) as step:
        step.rows = write_value(step.connection, step.config, step.month, CHURN_RISK.name)
        money = money_of(step.connection, step.month)
        segments = segments_money(step.connection, step.month)
        quality = quality_of(step.connection, step.month)
    return step.result({**_money(money), **_money_of_segments(segments), "back_test": _back_test(quality)})


def _money(money: Row | None) -> dict[str, Any]:
    if money is None:
        return {"no_value": "Nothing is known of what customers spend: the source has no order lines with amounts."}
    by = {name: METHODS[money[name]] for name in ("method", "method_12")}
    figures = ("expected_spend_3", "expected_spend_12", "revenue_at_risk")
    return {**by, **{name: round(money[name], 2) for name in figures if money[name] is not None}}


def _money_of_segments(segments: Sequence[Row]) -> dict[str, Any]:
    columns = ("month_revenue", "month_revenue_share", "expected_spend_3", "expected_spend_12", "revenue_at_risk")
    return {"money": as_table(segments, segment_id=int, customers=int, **dict.fromkeys(columns, float))}


def _back_test(quality: Sequence[Row]) -> dg.TableMetadataValue:
    """How near each method has come so far."""
    return as_table(quality, horizon_months=int, method=str, months=int, mean_absolute_error=float)


@monthly_asset(
    EARLY_WARNINGS,
    beside=[CONTACT_LIST_RULES],
    # customer_actions: whom a campaign leaves alone has no place in the queue
    deps=[
        validated_features,
        selected_model,
        monthly_assignments,
        transition_deltas,
        churn_risk,
        customer_value,
        customer_actions,
    ],
    follows_itself=True,  # last month's warnings say which of this month's are new
    kinds=SQL_KINDS,
)
def early_warnings(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.early_warnings.rules_store import (
        head_of_queue,
        standings_of,
        warning_figures,
        write_early_warnings,
    )
    from segment_pipeline.models.champions_store import measuring_champion, require_champion

    with pipeline.step(context) as step:
        champion = require_champion(step.connection, step.config, step.month)
        measuring = measuring_champion(step.connection, step.config, step.month)
        step.rows = write_early_warnings(step.connection, champion, measuring, step.month, step.config.warnings)
        figures = warning_figures(step.connection, step.month)
        head = head_of_queue(step.connection, step.month)
        *rules, whole = standings_of(step.connection, step.month)
    queue = as_table(head, priority=int, churn_risk=float, revenue_at_risk=float, within_budget=bool, evidence=str)
    taking_part = as_table(map(vars, rules), warning=str, takes_part=bool, sentence=str)
    return step.result({**figures, "contact_list": whole.sentence, "taking_part": taking_part, "head_of_queue": queue})


@monthly_asset(
    WARNING_BACKTEST_HISTORY,
    # It judges the warnings of the months before, whose silence this month has come to know.
    deps=[
        raw_customers,
        selected_model,
        monthly_assignments,
        churn_risk,
        customer_value,
        customer_actions,
        early_warnings,
    ],
)
def warning_backtest(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.early_warnings.churn_store import write_backtest

    with pipeline.step(context) as step:
        rows = write_backtest(step.connection, step.config, step.month)
        step.rows = len(rows)
    months = max((row.months for row in rows if row.month is None), default=0)
    return step.result({"months_judged": months, "pooled": _pooled(rows)})


def _pooled(rows: "Iterable[BacktestRow]") -> dg.TableMetadataValue:
    """The figures over all months together, of warnings that there were."""
    return as_table(
        (_in_per_cent(row) for row in rows if row.month is None and row.alerts),
        judged=str,
        warning=str,
        alerts=int,
        right=str,
        right_95=str,
        at_random=str,
        longest_silent=str,
        highest_churn_risk=str,
        highest_revenue_at_risk=str,
        churn_risk_less_silent_95=str,
        money_lost=float,
        random_money_lost=float,
        churn_risk_money_lost=float,
        revenue_at_risk_money_lost=float,
    )


def _in_per_cent(row: "BacktestRow") -> dict[str, Any]:
    low, high = row.difference_low, row.difference_high
    return {
        "judged": row.judged,
        "warning": row.warning,
        "alerts": row.alerts,
        "right": _share(row.precision),
        "right_95": f"{_share(row.precision_low)} to {_share(row.precision_high)}",
        "at_random": _share(row.base_rate),
        "longest_silent": _share(row.recency_precision),
        "highest_churn_risk": _share(row.churn_risk_precision),
        "highest_revenue_at_risk": _share(row.revenue_at_risk_precision),
        **{name: value for name, value in vars(row).items() if name.endswith("money_lost")},
        "churn_risk_less_silent_95": None if low is None or high is None else f"{points(low)} to {points(high)} points",
    }


def _share(value: float | None) -> str:
    return "" if value is None else percent(value, 1)
