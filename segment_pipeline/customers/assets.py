"""From the user's source to accepted customers in a scaled matrix. Each asset reads, computes, writes once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from segment_pipeline import helper
from segment_pipeline.config.values import either
from segment_pipeline.customers.expectations import CHECK_SPECS, CheckOutcome
from segment_pipeline.customers.tables import (
    FEATURE_DIAGNOSTICS,
    FEATURE_LIMITS,
    FEATURE_SPACES,
    PAST_FEATURES,
    REJECTED_CUSTOMERS,
    SCALED_MATRIX,
    VALIDATED_FEATURES,
)
from segment_pipeline.errors import ModelError
from segment_pipeline.months import add_months, month_key, month_range, parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.check_types import CheckSpec
from segment_pipeline.orchestration.monthly_asset import SQL_KINDS, monthly_asset
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline, Step
from segment_pipeline.orchestration.settings import location_config
from segment_pipeline.sources.assets import observations, source_assets
from segment_pipeline.sources.tables import (
    CUSTOMER_CATEGORIES,
    CUSTOMER_LINES,
    FOLDED_MONTHS,
    FOLDED_ORDERS,
    RAW_CUSTOMERS,
    SOURCE_MONTHS,
    SOURCE_PARTS,
    SOURCE_RECONCILIATION,
)

if TYPE_CHECKING:
    from segment_pipeline.customers.contract import Contract
    from segment_pipeline.customers.split_store import SplitCounts
    from segment_pipeline.customers.worth import FeatureWorth
    from segment_pipeline.mixture.features import Dependence, FeatureDiagnostics
    from segment_pipeline.sources.events import EventCounts
    from segment_pipeline.sources.reconciliation import Difference, Part

ORDER_LINES_HAVE_DATES = CheckSpec(
    "order_lines_have_dates",
    "Few order lines have an unreadable or future date, and so are in no month.",
    blocking=True,
)
SOURCE_IS_ACCOUNTED_FOR = CheckSpec(
    "source_is_accounted_for",
    "Every line of the source, and all its money, is used or left out for a reason: the parts add up to it.",
    blocking=True,
)
SOURCE_IS_AS_IT_WAS = CheckSpec(
    "earlier_months_are_as_they_were",
    "The source holds of earlier months what it held when they were run.",
    blocking=True,
)
FEEDS_REACH_THE_END = CheckSpec(
    "feeds_reach_the_end_of_the_month",
    "No feed is silent before the end of the month for longer than it ever was.",
    blocking=True,
)
FEEDS_COVER_THE_WINDOW = CheckSpec(
    "feeds_cover_the_window", "Every feed of events begins in the first month of the window, or before.", blocking=False
)
NOTHING_COMES_TWICE = CheckSpec(
    "nothing_is_delivered_twice",
    "Few lines repeat another, and the rows are not those of the month before.",
    blocking=False,
)
VALUES_ARE_KNOWN = CheckSpec(
    "values_are_known",
    "No state, kind or currency of order lines is new, and no customer is called as guests are.",
    blocking=False,
)
AMOUNTS_ARE_KEPT = CheckSpec(
    "amounts_keep_their_value", "Amounts are those of the source: four decimals are enough for them.", blocking=False
)
NO_ROW_WAS_LOST = CheckSpec(
    "raw_equals_accepted_plus_rejected", "No row was lost: raw = accepted + rejected.", blocking=True
)
FEATURES_ARE_INDEPENDENT = CheckSpec(
    "features_are_independent", "No feature is constant or repeats the others.", blocking=True
)

SOURCES = source_assets(location_config())

MISSING = "missing:"
"""What the reason to reject a customer without a value of a feature begins with."""
MOST_LOST = 1e-4
"""Share of the amounts that may be lost where they are kept with four decimals."""
TOO_FEW = (
    "A mixture fitted to so few customers finds groups that are chance and gone a month later: wait for more of them, "
    "or take in more (source.window_months, source.orders.where). "
)


@monthly_asset(
    RAW_CUSTOMERS,
    beside=[CUSTOMER_CATEGORIES, SOURCE_PARTS, CUSTOMER_LINES, SOURCE_MONTHS, FOLDED_ORDERS, FOLDED_MONTHS],
    deps=SOURCES,
    kinds=SQL_KINDS,
    checks=[
        *(ORDER_LINES_HAVE_DATES, AMOUNTS_ARE_KEPT, SOURCE_IS_AS_IT_WAS, FEEDS_REACH_THE_END),
        *(FEEDS_COVER_THE_WINDOW, NOTHING_COMES_TWICE, VALUES_ARE_KNOWN),
    ],
)
def raw_customers(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.sources.over_time.folded import fold_months
    from segment_pipeline.sources.sources import load_raw_customers

    with pipeline.step(context) as step:
        anew = fold_months(step.connection, step.config, step.month)
        counts = load_raw_customers(step.connection, step.config, step.month, folded=True)
        step.rows = counts.rows
        dated = _dates(counts.parts, step.config.quality.max_rejected_share)
        step.judge(dated, _kept(counts.lost_by_rounding), advice="" if dated.passed else _advice_on_dates(step))
        step.judge(
            *_over_time(step),
            _begin(step, counts.events),
            advice="See source.late_data and source.feed_ends_early in the configuration.",
        )
        for seen in observations(step.connection, step.config, step.month):
            context.log_event(seen)
    figures = {f"source/{one.reason.replace(' ', '_')}": one.lines for one in counts.parts}
    if counts.uncategorised is not None:
        figures["source/uncategorised"] = counts.uncategorised
    for feed, events in counts.events.items():
        figures |= {f"events/{feed}/{name}": n for name, n in asdict(events).items() if name != "begins"}
    figures |= {f"missing_filled/{name}": count for name, count in counts.filled.items()}
    return step.result({"customers": counts.rows, "forgotten": counts.forgotten, **figures, **_read_anew(anew)})


def _read_anew(months: "Sequence[date]") -> dict[str, object]:
    """Whose lines were aggregated, and not taken as they were kept."""
    return {"source/months_folded": len(months), "months folded": ", ".join(map(month_key, months)) or "none"}


def _dates(parts: "Sequence[Part]", allowed: float) -> dg.AssetCheckResult:
    """Judged beside the lines of the window, whoever they are of."""
    lines = {one.reason: one.lines for one in parts}
    undated, future = lines.get("no readable date", 0), lines.get("later than today", 0)
    in_window = sum(lines.get(reason, 0) for reason in ("used", "no customer", "no readable amount"))
    share = (undated + future) / max(1, undated + future + in_window)
    observed = {"undated": undated, "future": future, "share": share}
    return checks.result(ORDER_LINES_HAVE_DATES, share <= allowed, observed, {"share": allowed})


def _advice_on_dates(step: Step) -> str:
    from segment_pipeline.sources.order_lines import unreadable_date

    example = unreadable_date(step.connection, step.config)
    such_as = "" if example is None else f", such as {example!r},"
    return f"Fix source.orders.ordered_at, or the dates in the source{such_as} that are unreadable or in the future."


def _kept(lost: float) -> dg.AssetCheckResult:
    advice = "take source.orders.amount a thousand times, and say so in the features' unit"
    return checks.result(
        AMOUNTS_ARE_KEPT,
        lost <= MOST_LOST,
        {"share lost": lost},
        {"share lost": MOST_LOST, "advice": advice},
    )


def _over_time(step: Step) -> list[dg.AssetCheckResult]:
    """Keep what this month stands on, and judge the source beside what it was."""
    from segment_pipeline.sources.over_time.contents import changes_before, write_contents
    from segment_pipeline.sources.over_time.copies import copies_in_words
    from segment_pipeline.sources.over_time.outlook import ends_of
    from segment_pipeline.sources.over_time.values import new_values_in_words

    connection, config, month = step.connection, step.config, step.month
    write_contents(connection, config, month)
    changed, ends = changes_before(connection, config, month), ends_of(connection, month)
    first = min((one.month for one in changed), default=month)
    renew = f"renew with segment-pipeline run --months {month_key(first)}..{month_key(month)} --force"
    waits = config.source.feed_ends_early == "wait" and not all(end.goes_on for end in ends)
    twice = copies_in_words(connection, config, month)
    new = new_values_in_words(connection, config, month)
    return [
        _in_words(SOURCE_IS_AS_IT_WAS, changed, renew, blocks=config.source.late_data == "stop"),
        _in_words(FEEDS_REACH_THE_END, ends, "deliver the rest, and run the month again", blocks=waits),
        _in_words(NOTHING_COMES_TWICE, twice, "deliver them once, and run the month again"),
        _in_words(VALUES_ARE_KNOWN, new, "change the keys that are named, and run the month again"),
    ]


def _begin(step: Step, events: "Mapping[str, EventCounts]") -> dg.AssetCheckResult:
    """A feed that begins inside the window rises for everybody until the window lies behind its beginning."""
    from segment_pipeline.sources.order_lines import window_of

    first, _ = window_of(step.config, step.month)
    late = [
        f"{feed} begins on {found.begins}, the window on {first}"
        for feed, found in events.items()
        if found.begins is not None and found.begins >= add_months(first, 1)
    ]
    return _in_words(FEEDS_COVER_THE_WINDOW, late, "begin later (first_month), or deliver the events from before")


def _in_words(
    check: CheckSpec, problems: Sequence[object], advice: str, *, blocks: bool = False
) -> dg.AssetCheckResult:
    limit = {"problems": [], **({} if blocks else {"advice": advice})}
    return checks.result(check, not problems, {"problems": [str(one) for one in problems]}, limit, blocks=blocks)


@monthly_asset(
    VALIDATED_FEATURES,
    beside=[REJECTED_CUSTOMERS, FEATURE_LIMITS, SOURCE_RECONCILIATION, PAST_FEATURES],
    deps=[raw_customers],
    kinds=SQL_KINDS,
    checks=[*CHECK_SPECS, NO_ROW_WAS_LOST, SOURCE_IS_ACCOUNTED_FOR],
)
def validated_features(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.customers.contract import build_contract
    from segment_pipeline.customers.past_store import fill_past
    from segment_pipeline.customers.split_store import split_customers
    from segment_pipeline.sources.reconciliation import write_reconciliation

    with pipeline.step(context) as step:
        contract = build_contract(step.config)
        split = split_customers(step.connection, step.config, contract, step.month)
        difference = write_reconciliation(step.connection, step.config, step.month, VALIDATED_FEATURES.name)
        step.rows = split.accepted
        outcomes = _outcomes(step, contract, split)
        advice = _advice(split, step.config.quality.min_customers, _later_first_month(step, split))
        step.judge(*map(_outcome, outcomes), _none_lost(split), _accounted_for(difference), advice=advice)
        months_before = fill_past(partial(pipeline.aside, context), step.config, step.month)
    return step.result({**_split_figures(split), "months_before": len(months_before)})


def _outcomes(step: Step, contract: "Contract", split: "SplitCounts") -> "list[CheckOutcome]":
    from segment_pipeline.customers.expectations import LOOKED_AT, validate_month
    from segment_pipeline.customers.split_store import accepted_frame
    from segment_pipeline.database.store import month_rows

    return validate_month(
        accepted_frame(step.connection, step.config, step.month, LOOKED_AT),
        contract,
        customers=split.accepted,
        raw_rows=split.raw,
        rejected_rows=split.rejected,
        previous_rows=month_rows(step.connection, VALIDATED_FEATURES, add_months(step.month, -1)) or None,
        config=step.config,
    )


def _outcome(found: CheckOutcome) -> dg.AssetCheckResult:
    return checks.result(found.check, found.passed, found.observed, found.limit, expectations=found.expectations)


def _none_lost(split: "SplitCounts") -> dg.AssetCheckResult:
    observed = {"raw": split.raw, "accepted": split.accepted, "rejected": split.rejected}
    return checks.result(NO_ROW_WAS_LOST, split.raw == split.accepted + split.rejected, observed, {"difference": 0})


def _accounted_for(difference: "Difference") -> dg.AssetCheckResult:
    observed = {"lines": difference.lines, "money": float(difference.money)}
    passed = difference.lines == 0 and difference.money == 0
    return checks.result(SOURCE_IS_ACCOUNTED_FOR, passed, observed, {"lines": 0, "money": 0.0})


def _later_first_month(step: Step, split: "SplitCounts") -> date | None:
    """The month with which a project might begin that begins with one of too few customers."""
    from segment_pipeline.sources.order_lines import first_month_with

    enough, closed = step.config.quality.min_customers, add_months(datetime.now(UTC).date().replace(day=1), -1)
    if split.raw >= enough or step.month != step.config.first_month:
        return None
    return first_month_with(step.connection, step.config, month_range(add_months(step.month, 1), closed), enough)


def _advice(split: "SplitCounts", min_customers: int, later: date | None) -> str:
    begin = "" if later is None else f"Or begin with {month_key(later)}, which has enough (first_month). "
    listed = ", ".join(f"{reason} {count}" for reason, count in split.reasons.items())
    # Where there are enough in the source, it is the rejected ones that are lacking, and why stands first.
    too_few = TOO_FEW if split.raw < min_customers else ""
    without = [reason.removeprefix(MISSING) for reason in split.reasons if reason.startswith(MISSING)]
    missing = f"Say what stands for no value of {either(without)} (`missing` of the feature). " if without else ""
    return (
        f"Rejected rows by reason: {listed or 'none'}. {missing}{too_few}{begin}"
        "Fix the source, or the limits under `quality` and `features`, then run the month again; published months are "
        "untouched."
    )


def _split_figures(split: "SplitCounts") -> dict[str, Any]:
    return {
        "accepted": split.accepted,
        "rejected": split.rejected,
        "rejected_share": split.rejected / max(1, split.raw),
        "capped": split.capped,
        "rejected_by_reason": dg.MetadataValue.json(split.reasons),
        "portrait_values_left_out": dg.MetadataValue.json(split.left_out),
    }


@monthly_asset(
    SCALED_MATRIX,
    beside=[FEATURE_SPACES, FEATURE_DIAGNOSTICS],
    deps=[validated_features],
    checks=[FEATURES_ARE_INDEPENDENT],
)
def scaled_matrix(context: dg.AssetExecutionContext, pipeline: Pipeline) -> dg.MaterializeResult[None]:
    from segment_pipeline.customers.charts_store import feature_bins
    from segment_pipeline.customers.space_store import is_bootstrap, write_feature_space, write_scaled_matrix
    from segment_pipeline.customers.worth import feature_worth
    from segment_pipeline.customers.worth_store import earlier_customers
    from segment_pipeline.database.rows import feature_matrix
    from segment_pipeline.mixture.features import FeatureSpace, diagnose_features, find_dependence

    config, month, names = pipeline.config, parse_month(context.partition_key), pipeline.config.model_feature_names
    with pipeline.read(context, step_follows=True) as connection:
        _, X = feature_matrix(connection, "validated_features", month, names, config.model.fit_sample)
        bootstrap, earlier = is_bootstrap(connection, month), earlier_customers(connection, config, month)
    space = FeatureSpace.fit(config.model_features, X)
    Z = space.transform(X)
    diagnostics, dependence = diagnose_features(space, X, Z), find_dependence(space.names, Z, space)
    verdict = _independence(dependence, diagnostics, blocks=bootstrap)
    if dependence is not None and bootstrap:
        raise _nothing_to_fit(context.partition_key, dependence, verdict)
    found = helper.aside(feature_worth, space, X, config.model.seed, earlier)
    with pipeline.step(context) as step:
        step.judge(verdict)
        step.rows = write_scaled_matrix(step.connection, month, space)
        bins, limits = feature_bins(step.connection, month, names)
        write_feature_space(step.connection, month, space, diagnostics, worth := found())
    return step.result(_feature_figures(diagnostics, worth) | {"distributions": _distributions(bins, limits)})


def _nothing_to_fit(month: str, dependence: "Dependence", verdict: dg.AssetCheckResult) -> checks.GateClosedError:
    from segment_pipeline.mixture.features import explain_dependence

    return checks.GateClosedError(ModelError(f"{month}: {explain_dependence(dependence)}"), [verdict])


def _independence(
    found: "Dependence | None", diagnostics: "Sequence[FeatureDiagnostics]", *, blocks: bool
) -> dg.AssetCheckResult:
    """It blocks at bootstrap only: later the champion goes on serving, and nothing but its challengers is lost."""
    largest = max(diagnostics, key=lambda row: row.max_correlation)
    observed = (
        {"problems": [found.combination], "smallest_eigenvalue": found.smallest_eigenvalue}
        if found is not None
        else {"problems": [], "largest_correlation": largest.max_correlation}
    )
    return checks.result(FEATURES_ARE_INDEPENDENT, found is None, observed, {"problems": []}, blocks=blocks)


def _feature_figures(diagnostics: "Sequence[FeatureDiagnostics]", worth: "Sequence[FeatureWorth]") -> dict[str, Any]:
    from segment_pipeline.mixture.features import atom_advice

    return {
        "largest_correlation": max(row.max_correlation for row in diagnostics),
        "largest_outlier_share": max(row.outlier_share for row in diagnostics),
        "largest_atom_share": max(row.largest_atom_share for row in diagnostics),
        "shared_values": atom_advice(diagnostics) or "no value is shared by too many customers",
        "worth": _worth(worth),
    }


def _distributions(bins: Sequence[Mapping[str, Any]], limits: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    from segment_pipeline.charts import feature_distributions

    return picture(feature_distributions(bins, limits), "Features before and after the transform, lines at 3 SD")


def _worth(worth: "Sequence[FeatureWorth]") -> dg.MarkdownMetadataValue:
    from segment_pipeline.customers.worth_chart import worth_bars

    return picture(worth_bars(worth), "What each feature is worth beside the others")
