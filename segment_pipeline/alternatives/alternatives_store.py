"""Alternatives to the champion in the warehouse: what they look at, the user's rules and text columns, rows out.

Of what the user's file asks for, each part stands alone: a rule or a column that cannot be used is left out, named with
what is wrong with it, and the month goes on. Not here: the methods and the verdict (alternatives.py, suitability.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np

from segment_pipeline.alternatives.alternatives import NOBODY, Comparison, Customers, Observed, compare
from segment_pipeline.alternatives.suitability import Suitability, judge_suitability
from segment_pipeline.alternatives.tables import (
    ALTERNATIVE_SEGMENTATIONS,
    SEGMENT_HIERARCHY,
    SUITABILITY,
    SUITABILITY_FINDINGS,
)
from segment_pipeline.arrays import Array, Labels, Texts, Values
from segment_pipeline.config.config import Config
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import feature_matrix, without, write_rows
from segment_pipeline.database.store import in_memory, month_literal, month_rows, reason
from segment_pipeline.database.user_sql import what_it_does_beside_reading
from segment_pipeline.early_warnings.tables import OBSERVED_SILENCE
from segment_pipeline.errors import SourceError
from segment_pipeline.models.champions_store import require_champion, scores_in
from segment_pipeline.models.model import SegmentModel
from segment_pipeline.months import add_months
from segment_pipeline.segments.memory_store import expected_memberships
from segment_pipeline.sources.sources import load_categories
from segment_pipeline.words import kind_of

MAX_LEVELS = 50
"""Different values beyond which a text column is a name or a number of something, and no answer to a question."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a month has to tell: the champion, the methods and the verdict; and what of the user's file could not be
    used, each by its key."""

    model_version: int
    comparison: Comparison
    suitability: Suitability
    problems: tuple[str, ...]


def is_due(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> bool:
    """Whether the month's champion was promoted in it, the first one too; or the user's file asks for a rule or text
    columns that the last computation, under another state of the file, did not know."""
    if require_champion(connection, config, month).trained_month == month:
        return True
    last = last_computed(connection, add_months(month, -1))
    computed = {
        method
        for (method,) in connection.execute(
            f"SELECT method FROM {ALTERNATIVE_SEGMENTATIONS.name} WHERE month = ?", [last]
        ).fetchall()
    }
    wanted = {f"rule: {name}" for name in config.alternatives.rules}
    if config.alternatives.categorical:
        wanted.add("latent_classes")
    if wanted <= computed:
        return False
    # one that cannot be used is not tried again every month, but once the file has changed
    used = connection.execute(
        "SELECT config_hash FROM pipeline_runs WHERE asset = 'alternative_segmentations' AND month = ? "
        "ORDER BY sequence DESC LIMIT 1",
        [last],
    ).fetchone()
    return used is None or used[0] != config.config_hash


def last_computed(connection: duckdb.DuckDBPyConnection, month: date) -> date | None:
    """The latest month up to this one that has alternatives."""
    found = connection.execute(f"SELECT max(month) FROM {SUITABILITY.name} WHERE month <= ?", [month]).fetchone()
    return found[0] if found else None


def find_alternatives(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> Found:
    """Every method on the month's customers, in the coordinates of its champion, and the verdict.

    Call it outside a transaction: an expression of the user's that fails would abort it.
    """
    champion = require_champion(connection, config, month)
    now = _looked_at(connection, config, champion, month)
    before = _latest_observed(connection, champion, month)
    then = None if before is None else _looked_at(connection, config, champion, before)
    rules, problems = _rules(connection, config, [now] if then is None else [now, then])
    categories, unusable = _categories(connection, config, now)
    customers = Customers(
        champion.space.transform(now.X),
        month_rows(connection, VALIDATED_FEATURES, month),
        now.rfm,
        {name: labels[0] for name, labels in rules.items()},
        categories,
        now.prior,
    )
    observed = None
    if then is not None:
        silent = _silent(connection, then)
        known = np.array([value is not None for value in silent])
        observed = Observed(
            champion.space.transform(then.X[known]),
            silent[known].astype(bool),
            None if then.rfm is None else then.rfm[known],
            {name: labels[1][known] for name, labels in rules.items()},
            None if then.prior is None else then.prior[known],
        )
    kinds = {feature.name: kind_of(feature) for feature in config.features}
    comparison = compare(
        customers, champion.mixture, champion.space.names, observed, seed=config.model.seed, kinds=kinds
    )
    suitability = judge_suitability(
        customers, champion.mixture, comparison, too_sure=config.refit.max_mean_max_probability
    )
    return Found(champion.model_version, comparison, suitability, (*problems, *unusable))


def write_alternatives(connection: duckdb.DuckDBPyConnection, month: date, found: Found | None) -> int:
    """Replace the month's rows of the four tables, by none where nothing was computed; returns how many methods."""
    if found is None:
        for table in (ALTERNATIVE_SEGMENTATIONS, SEGMENT_HIERARCHY, SUITABILITY, SUITABILITY_FINDINGS):
            write_rows(connection, table, month, [])
        return 0
    verdict = {"model_version": found.model_version, "verdict": found.suitability.verdict}
    write_rows(connection, SUITABILITY, month, [verdict | {"reason": found.suitability.reason}])
    write_rows(connection, SUITABILITY_FINDINGS, month, [vars(finding) for finding in found.suitability.findings])
    write_rows(connection, SEGMENT_HIERARCHY, month, [vars(node) for node in found.comparison.hierarchy])
    alternatives = [without(one, "labels") for one in found.comparison.alternatives]
    return write_rows(connection, ALTERNATIVE_SEGMENTATIONS, month, alternatives)


# --- whom the methods look at -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _LookedAt:
    """Customers of a month: ids (n,), X (n, d) in original units, rfm (n, 3) and prior (n, k) as `Customers` has
    them."""

    month: date
    ids: Texts
    X: Array
    rfm: Array | None
    prior: Array | None


def _looked_at(connection: duckdb.DuckDBPyConnection, config: Config, champion: SegmentModel, month: date) -> _LookedAt:
    wanted = [config.recency_feature, config.frequency_feature, config.monetary_feature]
    rfm = [name for name in wanted if name is not None]
    names = list(dict.fromkeys([*champion.space.names, *rfm]))
    ids, values = feature_matrix(connection, VALIDATED_FEATURES.name, month, names, config.alternatives.sample)
    told = values[:, [names.index(name) for name in rfm]]
    return _LookedAt(
        month,
        ids,
        values[:, : champion.space.n_features],
        told if len(rfm) == len(wanted) and np.isfinite(told).all() else None,
        expected_memberships(connection, champion, month, config.alternatives.sample),
    )


def _latest_observed(connection: duckdb.DuckDBPyConnection, champion: SegmentModel, month: date) -> date | None:
    """The latest month whose silence was known when this one closed, and that has the champion's features."""
    found = connection.execute(
        f"SELECT max(month) FROM {OBSERVED_SILENCE.name} WHERE observed_in <= ? AND month < ?", [month, month]
    ).fetchone()
    latest: date | None = found[0] if found else None
    return latest if latest is not None and scores_in(connection, champion, latest) else None


def _silent(connection: duckdb.DuckDBPyConnection, then: _LookedAt) -> Values:
    """(n,) true or false, None of a customer whose silence is not known."""
    query = (
        f"SELECT customer_id, silent AS value FROM {OBSERVED_SILENCE.name} WHERE month = {month_literal(then.month)}"
    )
    return _in_order(connection, then.ids, query)


# --- what the user's file asks for ------------------------------------------------------------------------------------


def _rules(
    connection: duckdb.DuckDBPyConnection, config: Config, months: Sequence[_LookedAt]
) -> tuple[dict[str, list[Labels]], list[str]]:
    """Labels of the customers of each of the months by each rule that can be used, and what is wrong with the others.

    One label has one code in all months.
    """
    found: dict[str, list[Labels]] = {}
    problems = []
    for name, rule in config.alternatives.rules.items():
        key = f"alternatives.rules.{name}"
        try:
            texts = [_rule_labels(connection, rule, one) for one in months]
        except duckdb.Error as error:
            problems.append(_failing_rule(config, name, rule, error))
            continue
        if all(text is None for text in texts[0]):
            problems.append(f"{key}: found a rule that matches none of the {len(texts[0]):,} customers looked at.")
            continue
        found[name] = _coded(texts)
    return found, problems


def rules_that_fail(config: Config) -> list[str]:
    """What is wrong with the user's rules that can be told without a customer: their SQL, the features they name."""
    problems = []
    with in_memory() as connection:
        columns = ", ".join(f"{identifier(name)} DOUBLE" for name in config.raw_feature_names)
        connection.execute(f"CREATE TABLE features (customer_id VARCHAR, {columns})")
        for name, rule in config.alternatives.rules.items():
            try:
                _refuse_writing(rule)
                # within a FROM, so that a second statement has no place to stand
                connection.execute(f"SELECT * FROM (SELECT CAST(({rule}\n) AS VARCHAR) FROM features)")
            except duckdb.Error as error:
                problems.append(_failing_rule(config, name, rule, error))
    return problems


def _failing_rule(config: Config, name: str, rule: str, error: duckdb.Error) -> str:
    return (
        f"alternatives.rules.{name}: found {rule!r}, which fails: {reason(error)} Expected one SQL expression over the "
        f"features {', '.join(config.raw_feature_names)}."
    )


def _refuse_writing(rule: str) -> None:
    written = what_it_does_beside_reading(f"SELECT ({rule}\n)", names_tables=False)
    if written is not None:
        raise duckdb.BinderException(f"it holds {written}, and a rule reads features only.")


def _rule_labels(connection: duckdb.DuckDBPyConnection, rule: str, customers: _LookedAt) -> Values:
    """Raises duckdb.Error where the rule is no expression over the features."""
    _refuse_writing(rule)
    month = month_literal(customers.month)
    features = f"(SELECT * FROM {VALIDATED_FEATURES.name} WHERE month = {month})"
    return _in_order(
        connection, customers.ids, f"SELECT customer_id, CAST(({rule}\n) AS VARCHAR) AS value FROM {features}"
    )


def _categories(
    connection: duckdb.DuckDBPyConnection, config: Config, customers: _LookedAt
) -> tuple[dict[str, Labels], list[str]]:
    """Codes of the customers in each text column that can be used, and what is wrong with the others. A customer
    without a value is an answer of its own."""
    found: dict[str, Labels] = {}
    problems = []
    for place, expression in enumerate(config.alternatives.categorical):
        key = f"alternatives.categorical[{place}] ({expression})"
        try:
            load_categories(connection, config, customers.month, expression)
        except SourceError as error:
            problems.append(f"{key}: {error}")
            continue
        texts = _in_order(connection, customers.ids, "SELECT customer_id, value FROM categories")
        connection.execute("DROP TABLE categories")
        levels = len({text for text in texts if text is not None})
        if not 2 <= levels <= MAX_LEVELS:
            many = f"{levels:,} different value{'' if levels == 1 else 's'}"
            problems.append(
                f"{key}: found {many} among the {len(texts):,} customers looked at; expected 2 to {MAX_LEVELS}. Group "
                "them in an expression, or leave the column out."
            )
            continue
        # NOBODY, a customer without a value, becomes 0
        found[expression] = _coded([texts])[0] - NOBODY
        if found[expression].min() > 0:
            found[expression] -= 1
    return found, problems


def _coded(texts: Sequence[Values]) -> list[Labels]:
    """Codes from 0 in the order of the texts, the same in all of them; NOBODY for None."""
    codes = {
        text: code for code, text in enumerate(sorted({text for some in texts for text in some if text is not None}))
    }
    return [np.array([codes.get(text, NOBODY) for text in some], dtype=np.intp) for some in texts]


def _in_order(connection: duckdb.DuckDBPyConnection, ids: Texts, query: str) -> Values:
    """(n,) `value` of each of these customers by a query of customer_id and value; None where it has none."""
    # in DuckDB, so that a month of a million customers is not fetched for a sample of them
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE looked_at AS SELECT unnest($ids) AS customer_id, unnest($places) AS place",
        {"ids": ids.tolist(), "places": list(range(len(ids)))},
    )
    if len(connection.extract_statements(query)) != 1:
        raise duckdb.ParserException("found several statements")
    rows = connection.execute(
        f"WITH asked AS ({query}) SELECT a.value FROM looked_at AS l "
        "LEFT JOIN asked AS a ON a.customer_id = l.customer_id ORDER BY l.place"
    ).fetchall()
    connection.execute("DROP TABLE looked_at")
    return np.array([value for (value,) in rows], dtype=object)
