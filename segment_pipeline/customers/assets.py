"""Stage 1: from the user's source to accepted customers in a scaled matrix. Each asset reads, computes, writes once."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import dagster as dg

from segment_pipeline.customers.tables import SCALED_MATRIX, VALIDATED_FEATURES
from segment_pipeline.errors import ModelError
from segment_pipeline.months import add_months, parse_month
from segment_pipeline.orchestration import checks
from segment_pipeline.orchestration.metadata import KINDS, OWNERS, SQL_KINDS, table_metadata
from segment_pipeline.orchestration.partitions import monthly_partitions
from segment_pipeline.orchestration.pictures import picture
from segment_pipeline.orchestration.resources import Pipeline
from segment_pipeline.sources.tables import RAW_CUSTOMERS

Events = Iterator[dg.MaterializeResult | dg.AssetCheckResult]

TOO_FEW = (
    "A mixture fitted to so few customers finds groups that are chance and gone a month later: wait for more of them, "
    "or take in more (source.window_months, source.orders.where). "
)


@dg.asset(
    partitions_def=monthly_partitions,
    check_specs=checks.specs("raw_customers"),
    group_name="customers",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=RAW_CUSTOMERS.description,
    metadata=table_metadata(RAW_CUSTOMERS),
)
def raw_customers(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.sources.sources import load_raw_customers

    allowed = pipeline.config.quality.max_rejected_share
    try:
        with pipeline.step(context) as step:
            counts = load_raw_customers(step.connection, step.config, step.month)
            step.rows = counts.rows
            lines = asdict(counts.lines) if counts.lines is not None else {}
            misdated = lines.get("undated", 0) + lines.get("future", 0)
            share = misdated / max(1, misdated + lines.get("in_window", 0))
            verdicts = checks.gate(
                context.partition_key,
                [
                    checks.result(
                        "raw_customers",
                        "order_lines_have_dates",
                        share <= allowed,
                        {"undated": lines.get("undated", 0), "future": lines.get("future", 0), "share": share},
                        {"share": allowed},
                    )
                ],
                "Fix source.orders.ordered_at, or the dates in the source that are unreadable or in the future.",
            )
    except checks.GateClosedError as closed:
        yield from checks.record_failure(closed)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": counts.rows,
            "customers": counts.rows,
            **{f"order_lines/{name}": count for name, count in lines.items()},
        },
        check_results=verdicts,
    )


@dg.asset(
    deps=[raw_customers],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("validated_features"),
    group_name="customers",
    owners=OWNERS,
    kinds=SQL_KINDS,
    description=f"{VALIDATED_FEATURES.description} Rows that break the contract go to rejected_customers.",
    metadata=table_metadata(VALIDATED_FEATURES),
)
def validated_features(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.customers.contract import build_contract
    from segment_pipeline.customers.expectations import validate_month
    from segment_pipeline.customers.split_store import accepted_frame, split_customers
    from segment_pipeline.database.store import month_rows

    contract = build_contract(pipeline.config)
    try:
        with pipeline.step(context) as step:
            split = split_customers(step.connection, step.config, contract, step.month)
            before = month_rows(step.connection, VALIDATED_FEATURES, add_months(step.month, -1))
            outcomes = validate_month(
                accepted_frame(step.connection, step.config, step.month),
                contract,
                raw_rows=split.raw,
                rejected_rows=split.rejected,
                previous_rows=before or None,
                config=step.config,
            )
            verdicts = [
                checks.result(
                    "validated_features",
                    found.name,
                    found.passed,
                    found.observed,
                    found.limit,
                    expectations=found.expectations,
                )
                for found in outcomes
            ]
            verdicts.append(
                checks.result(
                    "validated_features",
                    "raw_equals_accepted_plus_rejected",
                    split.raw == split.accepted + split.rejected,
                    {"raw": split.raw, "accepted": split.accepted, "rejected": split.rejected},
                    {"difference": 0},
                )
            )
            checks.gate(
                context.partition_key,
                verdicts,
                f"{_in_words(split.reasons)}{TOO_FEW if split.accepted < step.config.quality.min_customers else ''}"
                f"Fix the source, or the limits under `quality` and `features`, then run the month again; published "
                f"months are untouched.",
            )
            step.rows = split.accepted
    except checks.GateClosedError as closed:
        yield from checks.record_failure(closed)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": split.accepted,
            "accepted": split.accepted,
            "rejected": split.rejected,
            "rejected_share": split.rejected / max(1, split.raw),
            "capped": split.capped,
            "rejected_by_reason": dg.MetadataValue.json(split.reasons),
        },
        check_results=verdicts,
    )


@dg.asset(
    deps=[validated_features],
    partitions_def=monthly_partitions,
    check_specs=checks.specs("scaled_matrix"),
    group_name="customers",
    owners=OWNERS,
    kinds=KINDS,
    description=f"{SCALED_MATRIX.description} With feature_diagnostics.",
    metadata=table_metadata(SCALED_MATRIX),
)
def scaled_matrix(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Events:
    from segment_pipeline.charts import feature_distributions
    from segment_pipeline.customers.charts_store import feature_bins
    from segment_pipeline.customers.space_store import is_bootstrap, write_feature_space, write_scaled_matrix
    from segment_pipeline.database.rows import feature_matrix
    from segment_pipeline.mixture.features import (
        FeatureSpace,
        atom_advice,
        diagnose_features,
        explain_dependence,
        find_dependence,
    )

    config, month = pipeline.config, parse_month(context.partition_key)
    with pipeline.read(context) as connection:
        _, X = feature_matrix(connection, "validated_features", month, config.feature_names, config.model.fit_sample)
        bootstrap = is_bootstrap(connection, month)
    space = FeatureSpace.fit(config.features, X)
    Z = space.transform(X)
    diagnostics = diagnose_features(space, X, Z)
    dependence = find_dependence(space.names, Z, space)
    largest = max(diagnostics, key=lambda row: row.max_correlation)
    verdict = checks.result(
        "scaled_matrix",
        "features_are_independent",
        dependence is None,
        {"found": dependence.combination, "smallest_eigenvalue": dependence.smallest_eigenvalue}
        if dependence is not None
        else {"largest_correlation": largest.max_correlation, "of": [largest.feature, largest.correlated_with]},
        {"dependence": "none"},
        blocks=bootstrap,  # later the champion goes on serving, and only its challengers are lost
    )
    if dependence is not None and bootstrap:
        yield verdict
        raise ModelError(f"{context.partition_key}: {explain_dependence(dependence)}")
    with pipeline.step(context) as step:
        step.rows = write_scaled_matrix(step.connection, month, space)
        write_feature_space(step.connection, month, space, diagnostics)
        bins, limits = feature_bins(step.connection, month, config.feature_names)
    yield dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": step.rows,
            "largest_correlation": largest.max_correlation,
            "largest_outlier_share": max(row.outlier_share for row in diagnostics),
            "largest_atom_share": max(row.largest_atom_share for row in diagnostics),
            "shared_values": atom_advice(diagnostics) or "no value is shared by too many customers",
            "distributions": picture(
                feature_distributions(bins, limits), "Features before and after the transform, lines at 3 SD"
            ),
        },
        check_results=[verdict],
    )


def _in_words(reasons: Mapping[str, int]) -> str:
    listed = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    return f"Rejected rows by reason: {listed or 'none'}. "
