"""Every table and view, collected from the stages that declare them; hence `data_dictionary` and the published file."""

from collections.abc import Mapping

from segment_pipeline.alternatives.tables import (
    ALTERNATIVE_SEGMENTATIONS,
    SEGMENT_HIERARCHY,
    SUITABILITY,
    SUITABILITY_FINDINGS,
)
from segment_pipeline.audit.tables import (
    OUTLIER_CUSTOMERS,
    OUTLIER_GROUP_PROFILES,
    OUTLIER_GROUPS,
    SEGMENT_AUDIT,
    SEGMENT_AUDIT_CUSTOMERS,
    SEGMENT_AUDIT_SUMMARY,
)
from segment_pipeline.campaigns.tables import AUDIENCE_FEED, CAMPAIGN_LIFT, CAMPAIGN_PLANS, CUSTOMER_ACTIONS
from segment_pipeline.customers.tables import (
    FEATURE_DIAGNOSTICS,
    FEATURE_LIMITS,
    FEATURE_SPACES,
    REJECTED_CUSTOMERS,
    SCALED_MATRIX,
    VALIDATED_FEATURES,
)
from segment_pipeline.database.tables import Column, Table
from segment_pipeline.early_warnings.tables import (
    CHURN_RISK,
    CHURN_RISK_MODELS,
    CHURN_RISK_QUALITY,
    EARLY_WARNINGS,
    OBSERVED_SILENCE,
    WARNING_BACKTEST,
    WARNING_BACKTEST_HISTORY,
)
from segment_pipeline.models.tables import (
    CANDIDATE_CHOICES,
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    CHAMPIONS,
    MODEL_VERSIONS,
    REFIT_TRIGGERS,
    SEGMENT_LINEAGE,
)
from segment_pipeline.orchestration.tables import PIPELINE_RUNS
from segment_pipeline.segments.tables import (
    CURRENT_ASSIGNMENTS,
    CURRENT_PROFILES,
    CUSTOMER_JOURNEY,
    DRIFT_ALERTS,
    FEATURE_DRIFT,
    JOURNEY_CONVERSION,
    JOURNEY_PATHS,
    MEMBERSHIP,
    MONTHLY_ASSIGNMENTS,
    SEGMENT_FEATURE_PROFILES,
    SEGMENT_PROFILES,
    TRANSITION_DELTAS,
    TRANSITION_MATRIX,
)
from segment_pipeline.sources.tables import RAW_CUSTOMERS
from segment_pipeline.validation.tables import MODEL_VALIDATION

DATA_DICTIONARY = Table(
    "data_dictionary",
    "Every published table, view and column: what it means and its unit.",
    (
        Column("table_name", "VARCHAR", "", "The table or view."),
        Column("column_name", "VARCHAR", "", "The column; NULL for the row that describes the table itself."),
        Column("type", "VARCHAR", "", "DuckDB type; TABLE or VIEW for the table itself."),
        Column("unit", "VARCHAR", "", "Unit or range; NULL where there is none."),
        Column("description", "VARCHAR", "", "What one value means."),
    ),
    ("table_name", "column_name"),
)


TABLES = (
    RAW_CUSTOMERS,
    VALIDATED_FEATURES,
    REJECTED_CUSTOMERS,
    FEATURE_LIMITS,
    SCALED_MATRIX,
    FEATURE_SPACES,
    FEATURE_DIAGNOSTICS,
    CANDIDATE_MODELS,
    CANDIDATE_PARAMETERS,
    CANDIDATE_CHOICES,
    MODEL_VERSIONS,
    CHAMPIONS,
    SEGMENT_LINEAGE,
    MONTHLY_ASSIGNMENTS,
    SEGMENT_PROFILES,
    SEGMENT_FEATURE_PROFILES,
    TRANSITION_DELTAS,
    TRANSITION_MATRIX,
    JOURNEY_PATHS,
    JOURNEY_CONVERSION,
    OBSERVED_SILENCE,
    CHURN_RISK,
    CHURN_RISK_MODELS,
    CHURN_RISK_QUALITY,
    EARLY_WARNINGS,
    WARNING_BACKTEST_HISTORY,
    CUSTOMER_ACTIONS,
    AUDIENCE_FEED,
    CAMPAIGN_PLANS,
    CAMPAIGN_LIFT,
    SEGMENT_AUDIT,
    SEGMENT_AUDIT_SUMMARY,
    SEGMENT_AUDIT_CUSTOMERS,
    OUTLIER_GROUPS,
    OUTLIER_GROUP_PROFILES,
    OUTLIER_CUSTOMERS,
    REFIT_TRIGGERS,
    DRIFT_ALERTS,
    FEATURE_DRIFT,
    MODEL_VALIDATION,
    ALTERNATIVE_SEGMENTATIONS,
    SEGMENT_HIERARCHY,
    SUITABILITY,
    SUITABILITY_FINDINGS,
    PIPELINE_RUNS,
    DATA_DICTIONARY,
)


PUBLISHED_TABLES = tuple(table for table in TABLES if table.published)


VIEWS = (MEMBERSHIP, CURRENT_ASSIGNMENTS, CURRENT_PROFILES, CUSTOMER_JOURNEY, WARNING_BACKTEST)


def dictionary_rows() -> list[Mapping[str, str | None]]:
    """The rows of `data_dictionary`: one per published table and view, then one per column of each."""
    rows: list[Mapping[str, str | None]] = []
    for kind, relations in (("TABLE", PUBLISHED_TABLES), ("VIEW", VIEWS)):
        for relation in relations:
            rows.append(
                {"table_name": relation.name, "column_name": None, "type": kind, "unit": None}
                | {"description": relation.description}
            )
            rows += [
                {"table_name": relation.name, "column_name": column.name, "type": column.type}
                | {"unit": column.unit or None, "description": column.description}
                for column in relation.columns
            ]
    return rows
