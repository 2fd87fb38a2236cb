"""The accepted customers of a month beside those of one window before it, for what features are worth.

Here: two months side by side. Not here: the figures (customers/worth.py).
"""

from datetime import date

import duckdb
import numpy as np

from segment_pipeline.config.config import Config
from segment_pipeline.customers.tables import VALIDATED_FEATURES
from segment_pipeline.customers.worth import LaterWindow
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.rows import drawn_sql
from segment_pipeline.months import add_months


def earlier_customers(connection: duckdb.DuckDBPyConnection, config: Config, month: date) -> LaterWindow | None:
    """The customers of the month whose window ends where this one's begins, then and now, in original units; a sample
    of them where they are many. None where there is no such month, or it was made with other features."""
    before = add_months(month, -config.source.window_months)
    drawn = drawn_sql(connection, VALIDATED_FEATURES.name, before, config.model.fit_sample)
    names = [identifier(name) for name in config.model_feature_names]
    then, now = (", ".join(f"{side}.{name}" for name in names) for side in ("earlier", "later"))
    found = connection.execute(
        f"""
        SELECT {then}, {now}
        FROM (FROM {VALIDATED_FEATURES.name} WHERE month = ? AND {drawn}) AS earlier
        LEFT JOIN (FROM {VALIDATED_FEATURES.name} WHERE month = ?) AS later USING (customer_id)
        ORDER BY customer_id
        """,
        [before, month],
    ).fetchnumpy()
    columns = [np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)) for values in found.values()]
    d = len(names)
    window = LaterWindow(np.column_stack(columns[:d]), np.column_stack(columns[d:]))
    return window if len(window.before) and np.isfinite(window.before).all() else None
