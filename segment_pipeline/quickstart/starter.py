"""What stands in the `segmentation.yaml` to start from: a proposal as the keys of the user's file.

Here: the thresholds, words and comments that fit the file. Not here: how such a file reads (config/starter_file.py),
and what is proposed (proposal.py).
"""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from segment_pipeline.config.order_features import ORDER_FEATURES
from segment_pipeline.config.starter_file import Starter, StarterFeature, scalar
from segment_pipeline.months import add_months, month_key
from segment_pipeline.quickstart.csv_table import Table, features_of
from segment_pipeline.quickstart.proposal import FeatureProposal, Proposal
from segment_pipeline.quickstart.request import ENOUGH_CUSTOMERS, FEWEST_CUSTOMERS, Request, last_closed_month

MOST_SEGMENTS = 8
"""As many as `model.max_segments` allows by default. More are never chosen, so a first look does not try them."""

FEW_SEGMENTS = 4
"""As many as are tried on less than ENOUGH_CUSTOMERS."""


def starter_of(
    request: Request,
    table: Table,
    proposal: Proposal,
    month: date,
    source: Mapping[str, object],
    customers: int,
    *,
    monthly: bool,
) -> Starter:
    """The file to start from. source : the keys under `source`. monthly : for a project that goes on, and not for one
    month."""
    return Starter(
        name=_name_of(request.file),
        first_month=month,
        # a project on order lines goes on by itself as soon as its export does
        last_month=None if monthly and (table.orders is not None or month >= last_closed_month()) else month,
        source=source,
        features=[_starter_feature(one, table) for one in proposal.features],
        left_out=[
            (_starter_feature(left.proposal, table) if left.proposal is not None else left.name, left.reason)
            for left in proposal.left_out
        ],
        settings=_settings(request, proposal, few=customers < ENOUGH_CUSTOMERS, monthly=monthly),
        heading=[
            f"How the customers of {request.file.name} are segmented: what was found in the file, to be fixed "
            "where you "
            "know better. An unknown key, a wrong type or an impossible value is refused before anything runs, "
            "with its "
            "line, what was found and what is allowed."
        ],
        source_note=_source_note(table, month),
    )


def _settings(request: Request, proposal: Proposal, *, few: bool, monthly: bool) -> dict[str, dict[str, str]]:
    """The thresholds that differ from their defaults, "section" -> "key" -> value as YAML. few : customers."""
    low, high = request.segments or (2, FEW_SEGMENTS if few else MOST_SEGMENTS)
    model = {"n_components": f"[{low}, {high}]", "max_segments": str(max(high, 2)), "seed": str(request.seed)}
    if monthly and request.segments is None:
        model = {"seed": str(request.seed)}
    if request.covariance is not None:
        model["covariance"] = f"[{', '.join(request.covariance)}]"
    hurdle = request.hurdle or proposal.hurdle
    if hurdle is not None:
        model["hurdle"] = f"{{feature: {scalar(hurdle[0])}, value: {scalar(float(hurdle[1]))}}}"
    quality = {}
    if few:
        quality["min_customers"] = str(FEWEST_CUSTOMERS)
    if proposal.rejected > 0.05:
        quality["max_rejected_share"] = f"{min(1.0, proposal.rejected + 0.01):.2f}"
    roles = {"recency": proposal.recency, "frequency": proposal.frequency}
    operation = {} if request.memory_limit is None else {"memory_limit": scalar(request.memory_limit)}
    found = {"model": model, "quality": quality, "operation": operation}
    if all(roles.values()):
        found["roles"] = {key: scalar(name) for key, name in roles.items()}
    return {section: keys for section, keys in found.items() if keys}


def _source_note(table: Table, month: date) -> str:
    if table.orders is not None:
        return (
            "Each value from customer_id on is a column or a SQL expression over the row, as the file is written: the "
            "next export of the same form is read in the same way."
        )
    after = month_key(add_months(month, 1))
    return (
        f"One file a month, one row a customer; {{month}} becomes {month_key(month)} and so on. For the next month put "
        f"the next export beside this file, as it comes, with {after} in its name. `columns` says what is made of its "
        "columns."
    )


def _starter_feature(one: FeatureProposal, table: Table) -> StarterFeature:
    if table.orders is not None:
        declared = ORDER_FEATURES[one.name]
        meaning = declared.meaning
        unit = table.columns[table.orders.amount].unit if declared.is_money else declared.unit
    else:
        column = features_of(table)[one.name]
        meaning = (
            f"The column {column.name}."
            if column.kind == "number"
            else f"Days before the day after the file's latest date ({one.name.replace('_', ' ')})."
        )
        unit = column.unit or _unit_by_name(one.name)
    return StarterFeature(one.name, unit, meaning, one.transform, one.resolution, one.low, one.high, one.why)


def _unit_by_name(name: str) -> str:
    if re.search(r"average|avg|mean|per_|_per|value|rate|share", name, re.IGNORECASE):
        return ""  # orders in average_order_value are not its unit
    for unit in ("days", "minutes", "hours", "seconds", "orders", "visits", "sessions"):
        if re.search(rf"(^|[^a-z]){unit[:-1]}s?($|[^a-z])", name, re.IGNORECASE):
            return unit
    return ""


def _name_of(file: Path) -> str:
    return re.sub(r"\W+", "_", file.stem).strip("_") or "customers"
