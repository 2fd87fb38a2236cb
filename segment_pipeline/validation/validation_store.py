"""What the validation of a month stands on, out of the warehouse, and its figures, into it.

Everything read had happened by the as_of of the month that is validated: silence once its horizon was over, spend of
the month itself by the customers of the month before. Not here: the figures (validation.py).
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date

import duckdb
import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Array
from segment_pipeline.config.config import Config
from segment_pipeline.config.order_features import MONETARY
from segment_pipeline.customers.space_store import read_feature_space
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import drawn_sql, feature_matrix, read_columns, write_rows
from segment_pipeline.database.store import month_literal, month_rows
from segment_pipeline.early_warnings.churn import observed_before
from segment_pipeline.early_warnings.tables import OBSERVED_SILENCE
from segment_pipeline.models.candidates_store import read_challenger
from segment_pipeline.models.champions_store import (
    is_fresh_fit,
    measuring_champion,
    previous_champion,
    require_champion,
    scores_in,
    stability_at_promotion,
)
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.models.panel_store import read_customer_months
from segment_pipeline.months import add_months, as_of, month_key
from segment_pipeline.segments.memory_store import (
    customers_of,
    expected_memberships,
    prior_columns,
    prior_of,
    scored_rows,
)
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS
from segment_pipeline.sources.order_lines import load_orderers
from segment_pipeline.validation.figures import METRICS_OF_MEMORY, Figure, Missing
from segment_pipeline.validation.fit import Overlap
from segment_pipeline.validation.foretold import Foretold, foretell
from segment_pipeline.validation.prediction import Followed, Hybrids, Outcome
from segment_pipeline.validation.tables import MODEL_VALIDATION
from segment_pipeline.validation.validation import Evidence

_NO_MONTH_BEFORE = Missing("this is the first month, and there is none before it to compare with.")


def read_evidence(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Evidence:
    """What is known of the month's champion at its as_of. Raises MonthOrderError where a month before is missing."""
    champion = require_champion(connection, config, month)
    before = previous_champion(connection, config, month)
    measuring = measuring_champion(connection, config, month)
    sample = config.validation.sample
    ids, X = feature_matrix(connection, VALIDATED_FEATURES.name, month, champion.space.names, sample)
    prior = expected_memberships(connection, champion, month, sample)
    stability = stability_at_promotion(connection, champion)
    return Evidence(
        month=month,
        champion=champion,
        space=read_feature_space(connection, month),
        customer_ids=ids.astype(str),
        X=X,
        prior=prior,
        memberships=champion.responsibilities(X, prior=prior),
        stability=Missing("no search for it is known: it followed the customers, or its month was run again since.")
        if stability is None
        else stability,
        overlap=_overlap(connection, config, champion, month),
        followed=_NO_MONTH_BEFORE if before is None else _followed(connection, config, measuring, month),
        silence=_silence(connection, config, champion, month),
        spend=_spend(connection, config, champion, month),
        hybrids=_hybrids(connection, config, month),
        foretold=_foretold(connection, config, before, month),
    )


def write_validation(connection: duckdb.DuckDBPyConnection, evidence: Evidence, figures: Sequence[Figure]) -> int:
    """Replace the month's figures; returns the rows. Of a sample the sentences say so."""
    month, total = evidence.month, month_rows(connection, VALIDATED_FEATURES, evidence.month)
    if len(evidence.X) < total:
        note = f" Measured on a sample of about {len(evidence.X):,} of {total:,} customers."
        figures = [
            figure if figure.value is None else replace(figure, sentence=figure.sentence + note) for figure in figures
        ]
    rows = [{**asdict(figure), "model_version": _judged(evidence, figure)} for figure in figures]
    return write_rows(connection, MODEL_VALIDATION, month, rows)


def _judged(evidence: Evidence, figure: Figure) -> int:
    """The version of the model that a figure speaks of: a forecast was made by who served the month before."""
    if figure.metric in METRICS_OF_MEMORY and isinstance(evidence.foretold, Foretold):
        return evidence.foretold.model_version
    return evidence.champion.model_version


def _overlap(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> Overlap | Missing:
    """The champion and this month's challenger on this month's customers."""
    if is_fresh_fit(connection, champion, month):
        return Missing("the champion is itself the fresh fit to this month's customers.")
    challenger = read_challenger(connection, month)
    if challenger.mixture is None:
        return Missing("no candidate of this month is admissible, so there is no fresh fit to compare with.")
    space, sample = read_feature_space(connection, month), config.validation.sample
    ids, X = feature_matrix(connection, VALIDATED_FEATURES.name, month, space.names, sample)
    X_champion = feature_matrix(connection, VALIDATED_FEATURES.name, month, champion.space.names, sample)[1]
    R = champion.responsibilities(X_champion, prior=expected_memberships(connection, champion, month, sample))
    prior = None
    if challenger.memory is not None:
        months = read_customer_months(connection, month, space.names, config.memory.months, sample)
        assert months is not None  # noqa: S101 - for mypy: the challenger was fitted to them
        prior = months.prior(challenger.mixture, challenger.memory, space)
        # of very many customers fewer are replayed over their months
        kept = np.isin(ids.astype(str), months.ids[months.last])
        X, R = X[kept], R[kept]
    return Overlap(R, challenger.mixture.responsibilities(space.transform(X), prior=prior), champion.segment_ids)


def _followed(
    connection: duckdb.DuckDBPyConnection, config: Config, measuring: SegmentModel | None, month: date
) -> Followed | Missing:
    """Customers of the month before who are still there, in both months under the champion that measures movement."""
    if measuring is None:
        return Missing("no champion can score this month and the one before.")
    found = read_columns(
        connection,
        f"""
        SELECT {_seen("b", measuring, "before")}, {_seen("n", measuring, "now")}
        FROM {_drawn_rows(connection, measuring, add_months(month, -1), config.validation.sample)} AS b
        JOIN {scored_rows(connection, measuring, customers_of(month))} AS n ON n.customer_id = b.customer_id
        ORDER BY b.customer_id
        """,
    )
    R_before, R_now = (_memberships(found, measuring, when) for when in ("before", "now"))
    return Followed(R_before, R_now.argmax(axis=1), measuring.segment_ids)


def _foretold(
    connection: duckdb.DuckDBPyConnection, config: Config, before: SegmentModel | None, month: date
) -> Foretold | Missing | None:
    """Customers of the month before, with what its champion expected of them and what came; of who was rejected since
    nothing can be told."""
    if before is None or before.memory is None:
        return None
    earlier, now = add_months(month, -1), customers_of(month)
    if not (scores_in(connection, before, month) and scores_in(connection, before, earlier)):
        return Missing("the champion of the month before cannot score both months.")
    states = [f"expected {a}" for a in range(len(before.segments) + 1)]
    expressions = [*(f"p.next_probabilities[{a + 1}]" for a in range(len(before.segments))), "p.next_lapse_probability"]
    published = [f"{what} AS {identifier(state)}" for what, state in zip(expressions, states, strict=True)]
    found = read_columns(
        connection,
        f"""
        SELECT {_seen("b", before, "before")}, {_aliased("n", before.space.names, "now")},
            n.customer_id IS NOT NULL AS is_there, {", ".join(published)}
        FROM {_drawn_rows(connection, before, earlier, config.validation.sample)} AS b
        JOIN {MONTHLY_ASSIGNMENTS.name} AS p ON p.month = {month_literal(earlier)} AND p.customer_id = b.customer_id
        LEFT JOIN {now.accepted} AS n ON n.customer_id = b.customer_id
        ANTI JOIN {now.rejected} AS r ON r.customer_id = b.customer_id
        ORDER BY b.customer_id
        """,
    )
    there = np.asarray(found["is_there"], dtype=bool)
    X = _matrix(found, before.space.names, "now")[there]
    expected = np.column_stack([_doubles(found[state]) for state in states])
    return foretell(before, _memberships(found, before, "before"), there, X, expected)


def _silence(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> Outcome | Missing:
    """The latest month whose horizon was over when this one closed, with who kept silent."""
    if config.recency_feature is None:
        return Missing("no feature tells how long ago the last order was; name it under roles.recency.")
    known = connection.execute(
        f"SELECT DISTINCT month FROM {OBSERVED_SILENCE.name} WHERE observed_in <= ? ORDER BY month DESC", [month]
    ).fetchall()
    horizon = config.warnings.horizon_days
    over = [earlier for (earlier,) in known if observed_before(earlier, month, horizon)]
    if not over:
        first = month_key(config.first_month)
        return Missing(f"{horizon} days after the end of {first} were not over when this month closed.")
    label = f"JOIN {OBSERVED_SILENCE.name} AS o ON o.month = {month_literal(over[0])} AND o.customer_id = v.customer_id"
    return _outcome(connection, config, champion, over[0], "o.silent", label)


def _spend(
    connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date
) -> Outcome | Missing:
    """Last month's customers, with what they spent in this month."""
    earlier = add_months(month, -1)
    if config.source.orders is None:
        return Missing("only a source of order lines tells what customers spent in one month.")
    if not month_rows(connection, VALIDATED_FEATURES, earlier):
        return _NO_MONTH_BEFORE
    load_orderers(connection, config, month, as_of(earlier), as_of(month))
    spent = "LEFT JOIN orderers AS o ON o.customer_id = v.customer_id"
    outcome = _outcome(connection, config, champion, earlier, "coalesce(o.spend, 0E0)", spent)
    connection.execute("DROP TABLE orderers")
    return outcome


def _outcome(
    connection: duckdb.DuckDBPyConnection,
    config: Config,
    champion: SegmentModel,
    earlier: date,
    happened: str,
    join: str,
) -> Outcome | Missing:
    """The customers `v` of an earlier month under this month's champion, with what happened to them, as SQL."""
    if not scores_in(connection, champion, earlier):
        return Missing(f"{month_key(earlier)} lacks features of the champion that serves now.")
    recency = config.recency_feature
    found = read_columns(
        connection,
        f"""
        SELECT {_seen("v", champion, "then")}, {happened} AS happened,
            {"NULL" if recency is None else f"r.{identifier(recency)}"} AS recency
        FROM {_drawn_rows(connection, champion, earlier, config.validation.sample)} AS v
        JOIN raw_customers AS r ON r.month = {month_literal(earlier)} AND r.customer_id = v.customer_id
        {join}
        ORDER BY v.customer_id
        """,
    )
    Z = champion.space.transform(_matrix(found, champion.space.names, "then"))
    recent = None if recency is None else _doubles(found["recency"])
    # np.asarray drops the mask of a column that could be NULL and is not
    return Outcome(earlier, Z, _memberships(found, champion, "then"), recent, np.asarray(found["happened"]))


def _hybrids(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Hybrids | Missing:
    """The month's customers: what they spent in its window, and whether they are hybrid or of one segment."""
    if MONETARY not in config.raw_feature_names:
        return Missing(f"no feature {MONETARY} tells what customers spent.")
    drawn = drawn_sql(connection, "monthly_assignments", month, config.validation.sample)
    found = read_columns(
        connection,
        f"""
        SELECT r.{identifier(MONETARY)} AS spend, a.tier = 'hybrid' AS is_hybrid, a.tier = 'dominant' AS is_single
        FROM (
            SELECT customer_id, tier FROM monthly_assignments
            WHERE month = {month_literal(month)} AND {drawn}
        ) AS a
        JOIN raw_customers AS r ON r.month = {month_literal(month)} AND r.customer_id = a.customer_id
        ORDER BY a.customer_id
        """,
    )
    spend = _doubles(found["spend"])
    known = np.isfinite(spend)
    is_hybrid, is_single = (np.asarray(found[name], dtype=bool)[known] for name in ("is_hybrid", "is_single"))
    return Hybrids(spend[known], is_hybrid, is_single)


def _drawn_rows(connection: duckdb.DuckDBPyConnection, model: SegmentModel, month: date, sample: int) -> str:
    """The month's accepted customers as `model` scores them, or a sample of them, as a relation."""
    drawn = drawn_sql(connection, VALIDATED_FEATURES.name, month, sample)
    return f"(SELECT * FROM {scored_rows(connection, model, customers_of(month))} AS scored WHERE {drawn})"


def _seen(table: str, model: SegmentModel, when: str) -> str:
    """The columns of `_drawn_rows` from which `_memberships` come."""
    return ", ".join([_aliased(table, model.space.names, when), *prior_columns(model, table, when)])


def _memberships(found: dict[str, NDArray[np.generic]], model: SegmentModel, when: str) -> Array:
    """(n, k) of customers who are there, by the columns of `_seen`."""
    return model.responsibilities(_matrix(found, model.space.names, when), prior=prior_of(model, found, when))


def _aliased(table: str, names: Sequence[str], when: str) -> str:
    return ", ".join(f"{table}.{identifier(name)} AS {identifier(f'{when} {name}')}" for name in names)


def _matrix(found: dict[str, NDArray[np.generic]], names: Sequence[str], when: str) -> Array:
    return np.column_stack([_doubles(found[f"{when} {name}"]) for name in names])


def _doubles(column: NDArray[np.generic]) -> Array:
    return np.asarray(np.ma.filled(column.astype(np.float64), np.nan))
