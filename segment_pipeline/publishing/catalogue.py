"""Every table and view, collected from the stages that declare them, and what follows: `data_dictionary`, the published
file, and the names that a feature cannot have."""

from collections.abc import Mapping, Sequence

from segment_pipeline.alternatives import tables as alternatives
from segment_pipeline.audit import tables as audit
from segment_pipeline.campaigns import tables as campaigns
from segment_pipeline.customers import contract
from segment_pipeline.customers import tables as customers
from segment_pipeline.database.tables import Table, View
from segment_pipeline.early_warnings import tables as early_warnings
from segment_pipeline.models import tables as models
from segment_pipeline.models.tables import PRIOR
from segment_pipeline.movement import tables as movement
from segment_pipeline.orchestration import tables as orchestration
from segment_pipeline.publishing import tables as publishing
from segment_pipeline.publishing.customer_months import CUSTOMER_JOURNEY, customer_views
from segment_pipeline.segments import tables as segments
from segment_pipeline.sources import tables as sources
from segment_pipeline.validation import tables as validation
from segment_pipeline.value import tables as value

TABLES: tuple[Table, ...] = (
    *sources.TABLES,
    *customers.TABLES,
    *models.TABLES,
    *segments.TABLES,
    *value.TABLES,
    *early_warnings.TABLES,
    *movement.TABLES,
    *campaigns.TABLES,
    *audit.TABLES,
    *segments.DRIFT_TABLES,
    *validation.TABLES,
    *alternatives.TABLES,
    *orchestration.TABLES,
    *publishing.TABLES,
)
"""In the order in which `data_dictionary` tells of them."""

PUBLISHED_TABLES = tuple(table for table in TABLES if table.published)


def published_views(features: Sequence[str] = ()) -> tuple[View, ...]:
    """Every view of a file that is published with these columns of features."""
    stages = (*segments.VIEWS, *early_warnings.VIEWS, *movement.VIEWS, *campaigns.VIEWS)
    return (*stages, CUSTOMER_JOURNEY, *customer_views(features))


VIEWS = published_views()
"""Without columns of features, which no two projects have in common."""

RESERVED_NAMES = frozenset(
    name.casefold()
    for names in (
        # a feature is a column beside the pipeline's own
        *(table.column_names for table in TABLES if table.features),
        # accepted or rejected, a row is judged with these beside its features
        contract.ROW_COLUMNS,
        customers.REJECTED_CUSTOMERS.column_names,
        # a consumer's scoring query puts these beside the features
        segments.MONTHLY_ASSIGNMENTS.column_names,
        (publishing.REFUSED, publishing.SCORED_TABLE),
        # and these, where the champion has a memory
        (publishing.PREVIOUS, PRIOR),
    )
    for name in names
)
"""Names that a feature cannot have, in lower case: `load_config` refuses them in any case."""


def dictionary_rows(features: Sequence[str] = ()) -> list[Mapping[str, str | None]]:
    """The rows of `data_dictionary`: one per published table and view, then one per column of each. features : the
    columns of features that the file is published with."""
    rows: list[Mapping[str, str | None]] = []
    for kind, relations in (("TABLE", PUBLISHED_TABLES), ("VIEW", published_views(features))):
        for relation in relations:
            rows.append(
                {"table_name": relation.name, "column_name": None, "type": kind, "unit": None}
                | {"description": relation.description}
            )
            rows += [
                {"table_name": relation.name, "column_name": column.name, "type": column.type}
                | {"unit": column.unit or None, "description": column.description}
                for column in (relation.with_features(features) if isinstance(relation, Table) else relation.columns)
            ]
    return rows
