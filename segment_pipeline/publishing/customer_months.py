"""A customer month by month: its journey, and all that is known of it as one wide row, so that an analyst's question is
one query.

Views and no tables: what they show stands in the published tables already, whose later columns, and whose customers who
are forgotten or merged, they follow by themselves. Of 1.4 million customer-months a total over all months takes 1.7 s,
over one month 0.4 s, and a customer's months 0.05 s; as a table each publication would write them all once more.

Who was there once keeps a row in every month: an average over a cohort would otherwise be one over those who stayed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from segment_pipeline.customers.tables import REJECTED_CUSTOMERS, VALIDATED_FEATURES
from segment_pipeline.database.quoting import identifier
from segment_pipeline.database.tables import CUSTOMER_ID, MODEL_VERSION, MONTH, Column, View, feature_column
from segment_pipeline.segments.tables import MONTHLY_ASSIGNMENTS

_MOVES = """
ranked AS (
    SELECT month, segment_id, role,
        CASE role WHEN 'engaged' THEN 3 WHEN 'casual' THEN 2 WHEN 'at_risk' THEN 1 WHEN 'dormant' THEN 0 END
            AS height
    FROM segment_profiles
),
measured AS (
    SELECT a.month, a.customer_id, a.segment_id, a.segment_name, a.max_probability, a.tier, a.model_version,
        -- both segments of a movement are one champion's, who serves the month of `roles_of`
        CASE WHEN a.previous_segment_id IS NULL AND d.model_version <> a.model_version
            THEN a.month - INTERVAL 1 MONTH ELSE a.month END AS roles_of,
        CASE WHEN a.previous_segment_id IS NOT NULL THEN a.previous_segment_id
            WHEN d.model_version IS NOT NULL THEN d.from_segment_id END AS before_id,
        CASE WHEN a.previous_segment_id IS NULL AND d.model_version <> a.model_version
            THEN d.to_segment_id ELSE a.segment_id END AS now_id, d.from_state
    FROM monthly_assignments AS a
    LEFT JOIN transition_deltas AS d ON d.month = a.month AND d.customer_id = a.customer_id
)
"""
"""Common table expressions of the views that tell of movement: `ranked`, the months' segments by the height of their
role; `measured`, the assignments with before_id and now_id, the two segments of a movement, both of one champion: that
of the month `roles_of`."""


_TOLD_IN_ORDER = {"month", "customer_id", "segment_id", "segment_name", "max_probability", "tier", "model_version"}

CUSTOMER_JOURNEY = View(
    "customer_journey",
    "A customer's months in order: where it was before, since when it has been where it is, and which way it went.",
    (
        *(column for column in MONTHLY_ASSIGNMENTS.columns if column.name in _TOLD_IN_ORDER),
        Column("role", "VARCHAR", "", "Role of its segment: engaged, casual, at_risk or dormant; NULL without roles."),
        Column("previous_month", "DATE", "month", "The customer's month before this one; NULL for its first."),
        Column(
            "previous_segment_id",
            "INTEGER",
            "",
            "Its segment in previous_month: the month before as this month's champion sees it, an older one as it was "
            "published. NULL for its first month, and where the month before cannot be seen.",
        ),
        Column(
            "moved",
            "BOOLEAN",
            "",
            "Whether segment_id differs from previous_segment_id, both by this month's champion: a refit alone is no "
            "movement. Where that cannot see the month before, both by the champion of then. NULL without a month "
            "before, and where neither sees both.",
        ),
        Column(
            "by_refit",
            "BOOLEAN",
            "",
            "Whether it did not move, and another segment_id was published in previous_month: the step of a new "
            "champion, and nothing that the customer did.",
        ),
        Column(
            "direction",
            "VARCHAR",
            "",
            "Of a movement: up, down, or lateral between segments of one role (dormant, at_risk, casual, engaged "
            "ascend); NULL where it did not move, or without roles.",
        ),
        Column("changed_at", "DATE", "month", "Month of its last movement, or of its first or returning month."),
        Column(
            "months_in_segment",
            "BIGINT",
            "months",
            "Months with an assignment since changed_at, both included; a refit alone does not start them again.",
        ),
        Column(
            "previous_different_segment_id",
            "INTEGER",
            "",
            "The segment that it left at its last movement, by the champion of that time; NULL when it has not "
            "moved, or has that segment again since a refit.",
        ),
    ),
    f"""
    WITH {_MOVES},
    ordered AS (
        SELECT m.*, r.role, lag(m.month) OVER customer AS previous_month,
            CASE WHEN lag(m.month) OVER customer < m.month - INTERVAL 1 MONTH THEN lag(m.segment_id) OVER customer
                WHEN m.roles_of = m.month THEN m.before_id END AS previous_segment_id,
            m.before_id <> m.now_id AS moved, lag(m.segment_id) OVER customer AS published_before,
            above.height - below.height AS ascent
        FROM measured AS m
        LEFT JOIN ranked AS r ON r.month = m.month AND r.segment_id = m.segment_id
        LEFT JOIN ranked AS below ON below.month = m.roles_of AND below.segment_id = m.before_id
        LEFT JOIN ranked AS above ON above.month = m.roles_of AND above.segment_id = m.now_id
        WINDOW customer AS (PARTITION BY m.customer_id ORDER BY m.month)
    ),
    stayed AS (
        SELECT *, max(CASE WHEN moved IS NOT FALSE THEN month END)
            OVER (PARTITION BY customer_id ORDER BY month) AS changed_at,
            -- the one before_id since the last move is what it left; PostgreSQL has no IGNORE NULLS to ask for it
            count(CASE WHEN moved THEN before_id END) OVER (PARTITION BY customer_id ORDER BY month) AS moves
        FROM ordered
    )
    SELECT month, customer_id, segment_id, segment_name, max_probability, tier, model_version, role, previous_month,
        previous_segment_id, moved, coalesce(NOT moved AND published_before <> segment_id, false) AS by_refit,
        CASE WHEN moved THEN CASE WHEN ascent > 0 THEN 'up' WHEN ascent < 0 THEN 'down' WHEN ascent = 0 THEN 'lateral'
            END END AS direction,
        changed_at,
        row_number() OVER (PARTITION BY customer_id, changed_at ORDER BY month) AS months_in_segment,
        nullif(
            max(CASE WHEN moved THEN before_id END) OVER (PARTITION BY customer_id, moves), segment_id
        ) AS previous_different_segment_id
    FROM stayed
    """,
)


# Column -> its expression. a = monthly_assignments, m = its movement, p, q, b and e = profiles of the segment, the
# second, the one before and the one expected, x = customer_changes, l = customer_lines, r = churn_risk,
# v = customer_value, w = the standing early_warnings, c = customer_actions.
_COLUMNS: tuple[tuple[Column, str], ...] = (
    (MONTH, "a.month"),
    (CUSTOMER_ID, "a.customer_id"),
    (
        Column(
            "state",
            "VARCHAR",
            "",
            "in a segment; lapsed: was in one once, and has no order in the window; rejected: was in one once, and the "
            "data contract refuses the month's row.",
        ),
        "'in a segment'",
    ),
    (
        Column(
            "segment_id",
            "INTEGER",
            "",
            "The segment with the largest membership probability; NULL of who is lapsed or rejected, as is all else "
            "that is told of a segment.",
        ),
        "a.segment_id",
    ),
    (Column("segment_name", "VARCHAR", "", "That segment's name; or lapsed, rejected."), "a.segment_name"),
    (Column("role", "VARCHAR", "", "Its role: engaged, casual, at_risk or dormant; NULL without roles."), "p.role"),
    (Column("max_probability", "DOUBLE", "0..1", "Probability of that segment."), "a.max_probability"),
    (
        Column("second_segment_id", "INTEGER", "", "The segment with the second largest probability."),
        "a.second_segment_id",
    ),
    (Column("second_segment_name", "VARCHAR", "", "That segment's name."), "q.segment_name"),
    (Column("second_probability", "DOUBLE", "0..1", "Probability of the second segment."), "a.second_probability"),
    (Column("tier", "VARCHAR", "", "dominant, hybrid, diffuse or leaning; see monthly_assignments."), "a.tier"),
    (Column("is_hybrid", "BOOLEAN", "", "Whether the tier is hybrid."), "a.is_hybrid"),
    (
        Column(
            "position_to_second",
            "DOUBLE",
            "0..1",
            "Where its behaviour lies from the centre of its segment (0) to that of the second (1); see "
            "monthly_assignments.",
        ),
        "a.position_to_second",
    ),
    (
        Column("is_between", "BOOLEAN", "", "Whether that is between both, beyond chance; see monthly_assignments."),
        "a.is_between",
    ),
    (
        Column(
            "is_atypical",
            "BOOLEAN",
            "",
            "Whether more unusual than 99 % of the model's customers; see monthly_assignments.",
        ),
        "a.is_atypical",
    ),
    (
        Column(
            "movement",
            "VARCHAR",
            "",
            "Since the month before, by one champion: stayed, moved up, moved down, moved sideways (between segments "
            "of one role), moved (without roles), new, returned, or was rejected; lapsed or rejected of who left. NULL "
            "in the first month, where no champion sees both, and of who had left before.",
        ),
        """CASE WHEN m.from_state IN ('new', 'returned') THEN m.from_state
            WHEN m.from_state = 'rejected' THEN 'was rejected'
            WHEN m.before_id = m.now_id THEN 'stayed' WHEN m.before_id IS NULL THEN NULL
            WHEN above.height > below.height THEN 'moved up' WHEN above.height < below.height THEN 'moved down'
            WHEN above.height = below.height THEN 'moved sideways' ELSE 'moved' END""",
    ),
    (
        Column(
            "previous_segment_id",
            "INTEGER",
            "",
            "Its segment the month before as this month's champion sees it; NULL for who was in none, and where that "
            "cannot be seen.",
        ),
        "CASE WHEN m.roles_of = a.month THEN m.before_id END",
    ),
    (Column("previous_segment_name", "VARCHAR", "", "That segment's name; NULL likewise."), "b.segment_name"),
    (Column("previous_role", "VARCHAR", "", "That segment's role; NULL likewise, and without roles."), "b.role"),
    (
        Column(
            "change_of_log_odds",
            "DOUBLE",
            "nats",
            "How much nearer to its segment it has come since the month before: of the log-odds of that against all "
            "others. NULL as in customer_changes.",
        ),
        "x.change_of_log_odds",
    ),
    (
        Column("reason_1", "VARCHAR", "", "What contributed most to that, whichever way; all: customer_changes."),
        "x.reason_1",
    ),
    (Column("contribution_1", "DOUBLE", "nats", "Its part: above 0, it speaks for the segment."), "x.contribution_1"),
    (Column("reason_2", "VARCHAR", "", "What contributed second most."), "x.reason_2"),
    (Column("contribution_2", "DOUBLE", "nats", "Its part."), "x.contribution_2"),
    (
        Column(
            "next_segment_id",
            "INTEGER",
            "",
            "The likeliest of the segments next month, as if the customer were there; NULL under a champion without "
            "memory.",
        ),
        "e.segment_id",
    ),
    (Column("next_segment_name", "VARCHAR", "", "That segment's name; NULL likewise."), "e.segment_name"),
    (
        Column("next_probability", "DOUBLE", "0..1", "Probability of that, of having lapsed left in."),
        "list_max(a.next_probabilities)",
    ),
    (
        Column(
            "next_lapse_probability",
            "DOUBLE",
            "0..1",
            "Of having lapsed next month; see monthly_assignments.",
        ),
        "a.next_lapse_probability",
    ),
    (
        Column("customer_since", "DATE", "date", "Day of the first order in the source; NULL where unknown."),
        "l.first_seen",
    ),
    (
        Column(
            "month_spend",
            "DECIMAL(38,4)",
            "currency",
            "Spent in the month, net of refunds, 0 of who is lapsed; NULL where the source tells only of the window.",
        ),
        "l.month_money",
    ),
    (Column("month_orders", "BIGINT", "orders", "Orders of the month; NULL likewise."), "l.month_orders"),
    (
        Column(
            "window_spend",
            "DECIMAL(38,4)",
            "currency",
            "Spent in the window (source.window_months) that ends with the month, net of refunds; NULL where nothing "
            "says what is spent.",
        ),
        "l.money",
    ),
    (Column("window_orders", "BIGINT", "orders", "Orders of the window; NULL of ready-made customers."), "l.orders"),
    (
        Column("expected_spend_3", "DOUBLE", "currency", "Expected spend of the next 3 months; see customer_value."),
        "v.expected_spend_3",
    ),
    (Column("expected_spend_12", "DOUBLE", "currency", "The same of the next 12 months."), "v.expected_spend_12"),
    (
        Column("revenue_at_risk", "DOUBLE", "currency", "churn_risk times expected_spend_12; NULL where either is."),
        "v.revenue_at_risk",
    ),
    (
        Column("churn_risk", "DOUBLE", "0..1", "Probability of falling silent: the table churn_risk."),
        "r.churn_risk",
    ),
    (
        Column("warnings", "VARCHAR", "", "The early warnings that stand, with commas between; NULL for none."),
        "w.warnings",
    ),
    (
        Column("on_contact_list", "BOOLEAN", "", "Whether to contact the customer; see early_warnings."),
        "coalesce(w.on_contact_list, false)",
    ),
    (Column("action_id", "VARCHAR", "", "What to do with the customer; see customer_actions."), "c.action_id"),
    (Column("arm", "VARCHAR", "", "Arm of the campaign; NULL without one."), "c.arm"),
    (MODEL_VERSION, "a.model_version"),
)


def customer_views(features: Sequence[str] = ()) -> tuple[View, View]:
    """`customer_months` and `customer_now` of a file whose validated_features has these feature columns.

    A feature whose name another column has stands as feature_NAME: what we call a column is the same in every project,
    and no name that was allowed so far is refused.
    """
    named = {feature: replace(feature_column(feature), name=name) for feature, name in _told_apart(features)}
    columns = (*(column for column, _ in _COLUMNS), *named.values())
    listed = ", ".join(
        [
            *(f"{expression} AS {column.name}" for column, expression in _COLUMNS),
            *(f"f.{identifier(feature)} AS {identifier(column.name)}" for feature, column in named.items()),
        ]
    )
    gone = ", ".join(_OF_WHO_LEFT.get(column.name, f"CAST(NULL AS {column.type})") for column in columns)
    return (
        View(
            "customer_months",
            "All that is known of a customer in a month, as one row: segment, movement and why, what it did and spent, "
            "what is expected of it and what to do. After these columns there is one for each feature, in original "
            "units. Who was in a segment once has a row in every later month, so that the mean of month_spend over "
            "those who were new in a month is theirs and not of those who stayed; state says who lapsed.",
            columns,
            f"WITH {_MOVES}, {_LEFT} SELECT {listed} {_JOINED} UNION ALL SELECT {gone} {_JOINED_TO_WHO_LEFT}",
        ),
        View(
            "customer_now",
            "customer_months of the latest month, of those who are in a segment.",
            columns,
            "SELECT * FROM customer_months WHERE month = (SELECT max(month) FROM monthly_assignments) "
            "AND segment_id IS NOT NULL",
        ),
    )


def _told_apart(features: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Each feature with the name of its column."""
    taken = {column.name for column, _ in _COLUMNS}
    for feature in features:
        name = feature
        while name.casefold() in taken:
            name = f"feature_{name}"
        taken.add(name.casefold())
        yield feature, name


_JOINED = f"""
    FROM monthly_assignments AS a
    JOIN measured AS m ON m.month = a.month AND m.customer_id = a.customer_id
    LEFT JOIN segment_profiles AS p ON p.month = a.month AND p.segment_id = a.segment_id
    LEFT JOIN segment_profiles AS q ON q.month = a.month AND q.segment_id = a.second_segment_id
    LEFT JOIN segment_profiles AS b ON b.month = a.month AND a.month = m.roles_of AND b.segment_id = m.before_id
    LEFT JOIN segment_profiles AS e ON e.month = a.month
        AND e.segment_id = a.segment_ids[list_position(a.next_probabilities, list_max(a.next_probabilities))]
    LEFT JOIN ranked AS below ON below.month = m.roles_of AND below.segment_id = m.before_id
    LEFT JOIN ranked AS above ON above.month = m.roles_of AND above.segment_id = m.now_id
    LEFT JOIN customer_changes AS x ON x.month = a.month AND x.customer_id = a.customer_id
    LEFT JOIN customer_lines AS l ON l.month = a.month AND l.customer_id = a.customer_id
    LEFT JOIN churn_risk AS r ON r.month = a.month AND r.customer_id = a.customer_id
    LEFT JOIN customer_value AS v ON v.month = a.month AND v.customer_id = a.customer_id
    LEFT JOIN (
        SELECT month, customer_id, string_agg(warning, ', ' ORDER BY warning) AS warnings,
            bool_or(within_budget) AS on_contact_list
        FROM early_warnings WHERE status <> 'resolved' GROUP BY month, customer_id
    ) AS w ON w.month = a.month AND w.customer_id = a.customer_id
    LEFT JOIN customer_actions AS c ON c.month = a.month AND c.customer_id = a.customer_id
    LEFT JOIN {VALIDATED_FEATURES.name} AS f ON f.month = a.month AND f.customer_id = a.customer_id
"""

_LEFT = f"""
months AS (
    SELECT p.month, p.model_version, l.tells_month, l.tells_month_orders, l.tells_window, l.tells_window_orders
    FROM (SELECT month, max(model_version) AS model_version FROM segment_profiles GROUP BY month) AS p
    LEFT JOIN (
        SELECT month, count(month_money) > 0 AS tells_month, count(month_orders) > 0 AS tells_month_orders,
            count(money) > 0 AS tells_window, count(orders) > 0 AS tells_window_orders
        FROM customer_lines GROUP BY month
    ) AS l ON l.month = p.month
),
once AS (
    SELECT customer_id, min(month) AS since FROM monthly_assignments GROUP BY customer_id
),
known AS (
    SELECT o.customer_id, o.since, l.first_seen FROM once AS o
    LEFT JOIN (SELECT customer_id, min(first_seen) AS first_seen FROM customer_lines GROUP BY customer_id) AS l
        ON l.customer_id = o.customer_id
),
refused AS (
    SELECT month, customer_id FROM {REJECTED_CUSTOMERS.name} GROUP BY month, customer_id
),
gone AS (
    SELECT k.customer_id, k.first_seen, t.*,
        CASE WHEN r.customer_id IS NULL THEN 'lapsed' ELSE 'rejected' END AS state
    FROM known AS k
    JOIN months AS t ON t.month > k.since
    LEFT JOIN monthly_assignments AS a ON a.month = t.month AND a.customer_id = k.customer_id
    LEFT JOIN refused AS r ON r.month = t.month AND r.customer_id = k.customer_id
    WHERE a.customer_id IS NULL
)
"""
"""Common table expressions: `gone`, a row for each customer and later month in which it is in no segment."""


def _nothing(told: str) -> str:
    """What a customer without an order did, where the month tells it of others."""
    return f"CASE WHEN g.state = 'lapsed' AND g.{told} THEN 0 END"


# g = gone, d = transition_deltas, b = the profile of the segment that was left
_OF_WHO_LEFT = {
    "month": "g.month",
    "customer_id": "g.customer_id",
    "state": "g.state",
    "segment_name": "g.state",
    "movement": "CASE WHEN d.from_segment_id IS NOT NULL THEN g.state END",
    "previous_segment_id": "b.segment_id",
    "previous_segment_name": "b.segment_name",
    "previous_role": "b.role",
    "customer_since": "g.first_seen",
    "month_spend": _nothing("tells_month"),
    "month_orders": _nothing("tells_month_orders"),
    "window_spend": _nothing("tells_window"),
    "window_orders": _nothing("tells_window_orders"),
    "on_contact_list": "false",
    "model_version": "g.model_version",
}

_JOINED_TO_WHO_LEFT = """
    FROM gone AS g
    LEFT JOIN transition_deltas AS d ON d.month = g.month AND d.customer_id = g.customer_id
    LEFT JOIN segment_profiles AS b ON b.month = g.month AND b.segment_id = d.from_segment_id
        AND d.model_version = g.model_version
"""
