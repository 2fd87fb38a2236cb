"""Movement beside chance, what is expected of the segments, and how it came out."""

from segment_pipeline.database.tables import CUSTOMER_ID, MODEL_VERSION, MONTH, Column, Table, View

MOVEMENT_REFERENCE = Table(
    "movement_reference",
    "A movement that was seen, beside what customers who do not change would show: the same customers, with the days "
    "between their orders and their baskets put in random order, seen through the same features, champion, memory and "
    "rules. Only orders before the end of the month take part. Nothing in the first month.",
    (
        MONTH,
        Column(
            "model_version",
            "INTEGER",
            "",
            "The champion that measures both months; see transition_deltas. NULL where none can, as features differ.",
        ),
        Column(
            "measure",
            "VARCHAR",
            "",
            "moved: of who was in a segment in both months, who changed it. came_back: of who moved the month before "
            "and is in a segment now, who is where it had been; no row where the champion was replaced between the two "
            "moves. warning: of the month's customers, whom a rule names. transition: of who was in from_state, who is "
            "in to_state. base_shift: of the customers of moved, how many must have moved for the segments' sizes to "
            "change as they did, half the sum of the absolute changes: what moves everybody alike shows here, what "
            "moves single customers does not.",
        ),
        Column("from_state", "VARCHAR", "", "Segment id as text in the month before; NULL but for a transition."),
        Column("to_state", "VARCHAR", "", "Segment id as text in this month, or lapsed; NULL but for a transition."),
        Column("warning", "VARCHAR", "", "The rule; NULL but for a warning."),
        Column("customers", "BIGINT", "customers", "Of how many the figures are shares."),
        Column("observed_customers", "BIGINT", "customers", "How many of them did it."),
        Column("observed", "DOUBLE", "0..1", "The same as a share of customers."),
        Column("expected_by_chance", "DOUBLE", "0..1", "The share of customers who do not change; NULL with a reason."),
        Column(
            "chance_low",
            "DOUBLE",
            "0..1",
            "Lower end of the interval in which 80 % of such months lie where chance alone is at work, by the number "
            "of customers and that of the sample; times customers, it is how many. NULL with a reason.",
        ),
        Column("chance_high", "DOUBLE", "0..1", "Upper end."),
        Column(
            "beside_chance",
            "VARCHAR",
            "",
            "above, within or below the interval; one in ten is above by chance alone, and one in ten below.",
        ),
        Column(
            "sample",
            "BIGINT",
            "customers",
            "On how many customers in random order that stands, of a sample drawn by hash: of small bases several "
            "copies of each. NULL with a reason.",
        ),
        Column("reason", "VARCHAR", "", "Why chance is not known, in a sentence; NULL where it is."),
    ),
    ("month", "measure", "warning", "from_state", "to_state"),
)


_STATE = Column("state", "VARCHAR", "", "Segment id as text, or lapsed: without an order in the window.")
_MONTHS_AHEAD = Column("months_ahead", "INTEGER", "months", "How many months lie between forecast and outcome, 1 to 6.")
_SERVED_BY = Column(
    "served_by",
    "VARCHAR",
    "",
    "memory, or as it is now: whichever was less wrong in past forecasts of one month ahead, of which most have come. "
    "The same for all months ahead.",
)
_JUDGED = (
    Column("forecast", "DOUBLE", "0..1", "The share that was served; NULL where pooled."),
    Column(
        "actual",
        "DOUBLE",
        "0..1",
        "The share that came: of the same customers, the mean probability of the state; NULL where pooled.",
    ),
    Column("error", "DOUBLE", "0..1", "How far off the forecast was; pooled, the mean. Lower is better."),
)
_RIVALS = (
    Column("memory_error", "DOUBLE", "0..1", "The same of what the champion expected."),
    Column("as_it_is_now_error", "DOUBLE", "0..1", "The same of the shares of made_in."),
    Column("counts_error", "DOUBLE", "0..1", "The same of a counted matrix: see share_by_counts of segment_forecast."),
    Column(
        "crosses_refit",
        "BOOLEAN",
        "",
        "Whether the champion was replaced in between: only segments that both have are judged, and part of the error "
        "is then the refit's.",
    ),
)

KNOWN_CUSTOMER_STATES = Table(
    "known_customer_states",
    "How many customers a champion with memory finds in each state at the end of a month, by the month since when they "
    "are known: what the forecast and its past errors are made of.",
    (
        MONTH,
        MODEL_VERSION,
        Column("known_since", "DATE", "month", "The first month in which these customers were there."),
        _STATE,
        Column("customers", "DOUBLE", "customers", "Sum of their probabilities of the state."),
        Column(
            "next_customers",
            "DOUBLE",
            "customers",
            "The same of what was expected of them a month later. NULL in months of before that was kept.",
        ),
    ),
    ("month", "model_version", "known_since", "state"),
    published=False,
)


SEGMENT_FORECAST = Table(
    "segment_forecast",
    "What share of today's customers each segment is expected to hold 1 to 6 months ahead, with intervals of 80 % that "
    "hold what months have in common. Of the customers known today: those of the month and those who have lapsed since "
    "the pipeline knows them; who is new later is not in it, so that what comes can be compared with it on the very "
    "same customers. All shares are means of probabilities: a customer who is in a segment at 0.7 counts 0.7 there, "
    "where segment_profiles counts everybody once in the likeliest, so that its sizes differ a little. Empty for a "
    "champion without memory.",
    (
        MONTH,
        _STATE,
        _MONTHS_AHEAD,
        Column("forecast_month", "DATE", "month", "The month that is forecast."),
        Column("share", "DOUBLE", "0..1", "Expected share of known_customers; over the states they sum to 1."),
        Column("share_low", "DOUBLE", "0..1", "Lower end of the interval of 80 % of that share."),
        Column("share_high", "DOUBLE", "0..1", "Upper end."),
        Column(
            "customers",
            "DOUBLE",
            "customers",
            "Expected customers: share of known_customers, a sum of probabilities and no count.",
        ),
        Column("known_customers", "BIGINT", "customers", "How many are known at the end of the month."),
        _SERVED_BY,
        Column(
            "share_now",
            "DOUBLE",
            "0..1",
            "Share at the end of the month, the forecast as it is now: the mean over known_customers of their "
            "probability of the state, not the share that segment_profiles counts.",
        ),
        Column(
            "share_by_memory",
            "DOUBLE",
            "0..1",
            "What the champion expects, whether it is served or not. One month ahead the sum over known_customers: of "
            "next_probabilities and next_lapse_probability of the month's customers, and of what segment_dynamics says "
            "of the lapsed; from there on that matrix. In months of before that was so it is the matrix alone.",
        ),
        Column(
            "share_by_counts",
            "DOUBLE",
            "0..1",
            "What a matrix counted from transition_matrix expects, from the champion's months so far; before the first "
            "of them nobody has moved.",
        ),
        Column(
            "past_forecasts",
            "INTEGER",
            "forecasts",
            "How many past forecasts the interval stands on: of the months since the champion was fitted and, until 3 "
            "of those have come, of the months it was fitted to, too. Few make a wide interval.",
        ),
        Column(
            "past_months_ahead",
            "INTEGER",
            "months",
            "Of how many months ahead those were: fewer than months_ahead where none of these has come. NULL without.",
        ),
        Column(
            "memory_error",
            "DOUBLE",
            "0..1",
            "Mean absolute error of the memory's past forecasts over all states, larger by what being fitted to "
            "their months hides; lower is better. Of as many months ahead: served_by goes by those of one. NULL "
            "without any.",
        ),
        Column("as_it_is_now_error", "DOUBLE", "0..1", "The same of the shares of then; NULL without any."),
        MODEL_VERSION,
    ),
    ("month", "months_ahead", "state"),
)


FORECAST_OUTCOMES = Table(
    "forecast_outcomes",
    "A past forecast whose month has come, beside what came: the same customers under the champion of this month.",
    (
        Column("month", "DATE", "month", "First day of the closed month that had been forecast."),
        Column("made_in", "DATE", "month", "First day of the closed month in which it was forecast."),
        _MONTHS_AHEAD,
        _STATE,
        *_JUDGED,
        Column("in_interval", "BOOLEAN", "", "Whether what came lies in the interval."),
        _SERVED_BY,
        *_RIVALS,
    ),
    ("month", "made_in", "state"),
)


FORECAST_QUALITY = View(
    "forecast_quality",
    "How good the forecasts of segment_forecast were: each whose month has come, and pooled for each number of months "
    "ahead (month NULL) without those that cross a refit. Beside what was served: the memory, the shares of then, and "
    "a counted matrix.",
    (
        Column("month", "DATE", "month", "First day of the closed month that had been forecast; NULL = pooled."),
        Column("made_in", "DATE", "month", "First day of the closed month in which it was forecast; NULL = pooled."),
        _MONTHS_AHEAD,
        Column("state", "VARCHAR", "", "Segment id as text, or lapsed; NULL = pooled."),
        Column("months", "BIGINT", "months", "How many months were forecast: 1, or of how many it is pooled."),
        *_JUDGED,
        Column("coverage", "DOUBLE", "0..1", "1 where what came lies in the interval, else 0; pooled, the share of 1."),
        Column("served_by", "VARCHAR", "", "memory, or as it is now; NULL where pooled."),
        *_RIVALS,
    ),
    """
    SELECT month, made_in, months_ahead, state, 1 AS months, forecast, actual, error,
        CASE WHEN in_interval THEN 1E0 ELSE 0E0 END AS coverage, served_by, memory_error, as_it_is_now_error,
        counts_error, crosses_refit
    FROM forecast_outcomes
    UNION ALL
    SELECT NULL, NULL, months_ahead, NULL, count(DISTINCT month), NULL, NULL, avg(error),
        avg(CASE WHEN in_interval THEN 1E0 ELSE 0E0 END), NULL, avg(memory_error), avg(as_it_is_now_error),
        avg(counts_error), false
    FROM forecast_outcomes WHERE NOT crosses_refit GROUP BY months_ahead
    """,
)

TABLES = (MOVEMENT_REFERENCE, KNOWN_CUSTOMER_STATES, SEGMENT_FORECAST, FORECAST_OUTCOMES)

_CALLED = """
    measuring AS (SELECT month, max(model_version) AS model_version FROM transition_deltas GROUP BY month),
    -- as the champion that measures called them, which may be that of the month before
    called AS (
        SELECT m.month, p.segment_id, arg_max(p.segment_name, p.month) AS segment_name, arg_max(p.role, p.month) AS role
        FROM measuring AS m
        JOIN segment_profiles AS p ON p.month <= m.month AND p.month >= m.month - INTERVAL 1 MONTH
            AND (p.model_version = m.model_version OR m.model_version IS NULL)
        GROUP BY m.month, p.segment_id
    )"""
"""Common table expressions of the views that name both segments of a movement: `called`, the segments of each month's
measuring champion."""

SEGMENT_MOVES = View(
    "segment_moves",
    "Where the customers of each segment went, and where those of each came from, by name: transition_matrix, beside "
    "what chance alone makes. Both states are segments of the champion that measures both months.",
    (
        MONTH,
        Column("from_state", "VARCHAR", "", "Segment id as text in the month before; or new, returned, rejected."),
        Column("from_name", "VARCHAR", "", "That segment's name, or the state."),
        Column("from_role", "VARCHAR", "", "That segment's role; NULL where it is no segment, or without roles."),
        Column("to_state", "VARCHAR", "", "Segment id as text in this month; or lapsed, rejected."),
        Column("to_name", "VARCHAR", "", "That segment's name, or the state."),
        Column("to_role", "VARCHAR", "", "That segment's role; NULL likewise."),
        Column("customers", "BIGINT", "customers", "Customers who made this move."),
        Column("customers_before", "BIGINT", "customers", "All customers in from_state."),
        Column("share", "DOUBLE", "0..1", "Share of these who made it."),
        Column(
            "share_by_chance",
            "DOUBLE",
            "0..1",
            "The share of customers who do not change: see movement_reference. NULL where that is not known: of who is "
            "new, returned or rejected, and of lapsed in months of before that was counted.",
        ),
        Column("beside_chance", "VARCHAR", "", "above, within or below what chance alone makes; NULL likewise."),
    ),
    f"""
    WITH named AS (
        SELECT *, sum(customers) OVER (PARTITION BY month, from_state) AS customers_before FROM transition_matrix
    ),
    {_CALLED}
    SELECT n.month, n.from_state, coalesce(f.segment_name, n.from_state) AS from_name, f.role AS from_role, n.to_state,
        coalesce(t.segment_name, n.to_state) AS to_name, t.role AS to_role, n.customers,
        CAST(n.customers_before AS BIGINT) AS customers_before, n.share, c.expected_by_chance AS share_by_chance,
        c.beside_chance
    FROM named AS n
    LEFT JOIN called AS f ON f.month = n.month AND CAST(f.segment_id AS VARCHAR) = n.from_state
    LEFT JOIN called AS t ON t.month = n.month AND CAST(t.segment_id AS VARCHAR) = n.to_state
    LEFT JOIN movement_reference AS c ON c.month = n.month AND c.measure = 'transition'
        AND c.from_state = n.from_state AND c.to_state = n.to_state
    """,
)


SEGMENT_EVENTS = View(
    "segment_events",
    "What happened to whom, for those who act on changes: a row for each customer and event of a month. Its segments "
    "are those of the champion that measures both months, so a refit alone is no event, and entered and moved in, less "
    "left and moved out, is what segment_moves changes a segment by. In the month of a promotion it is the new one, "
    "also of the month before; where that lacks a feature of it, the champion before, by its names. What a list that "
    "follows the published segments has to add and take out stands in audience_feed.",
    (
        MONTH,
        CUSTOMER_ID,
        Column(
            "event",
            "VARCHAR",
            "",
            "entered: is in a segment and was in none the month before. left: the reverse. moved: from one segment to "
            "another. forecast: next month, if there, likeliest in another segment than now; each month anew, under a "
            "champion with memory. A customer has at most one of the first three, and a forecast beside it.",
        ),
        Column(
            "reason",
            "VARCHAR",
            "",
            "Of entered: new (not known before), returned (ordered again after it had lapsed) or rejected (by the data "
            "contract, the month before). Of left: lapsed (no order in the window any more) or rejected. Else NULL.",
        ),
        Column(
            "segment_id", "INTEGER", "", "The segment that was entered or left, moved to, or is likeliest next month."
        ),
        Column("segment_name", "VARCHAR", "", "That segment's name."),
        Column("from_segment_id", "INTEGER", "", "Of moved: where it was. Of forecast: where it is. Else NULL."),
        Column("from_segment_name", "VARCHAR", "", "That segment's name; NULL likewise."),
        Column(
            "probability",
            "DOUBLE",
            "0..1",
            "Of entered and moved: of being in the segment, as in monthly_assignments; of left: of having been there "
            "the month before, as published then; of forecast: that of next_probabilities. NULL where the champion of "
            "the month had no such segment.",
        ),
    ),
    f"""
    WITH {_CALLED},
    told AS (
        SELECT month, customer_id,
            CASE WHEN from_segment_id IS NULL THEN 'entered' WHEN to_segment_id IS NULL THEN 'left' ELSE 'moved' END
                AS event,
            CASE WHEN from_segment_id IS NULL THEN from_state WHEN to_segment_id IS NULL THEN to_state END AS reason,
            coalesce(to_segment_id, from_segment_id) AS segment_id,
            CASE WHEN to_segment_id IS NOT NULL THEN from_segment_id END AS from_segment_id,
            CASE WHEN to_segment_id IS NULL THEN month - INTERVAL 1 MONTH ELSE month END AS seen_in
        FROM transition_deltas
        -- where no champion sees both months, other ids are no movement
        WHERE from_segment_id IS NULL AND to_segment_id IS NOT NULL
            OR from_segment_id IS NOT NULL AND to_segment_id IS NULL
            OR from_segment_id <> to_segment_id AND model_version IS NOT NULL
    ),
    expected AS (
        SELECT month, customer_id, segment_id, list_max(next_probabilities) AS probability,
            segment_ids[list_position(next_probabilities, list_max(next_probabilities))] AS next_segment_id
        FROM monthly_assignments
    )
    SELECT t.month, t.customer_id, t.event, t.reason, t.segment_id, n.segment_name, t.from_segment_id,
        f.segment_name AS from_segment_name, a.probabilities[list_position(a.segment_ids, t.segment_id)] AS probability
    FROM told AS t
    LEFT JOIN called AS n ON n.month = t.month AND n.segment_id = t.segment_id
    LEFT JOIN called AS f ON f.month = t.month AND f.segment_id = t.from_segment_id
    LEFT JOIN monthly_assignments AS a ON a.month = t.seen_in AND a.customer_id = t.customer_id
    UNION ALL
    SELECT e.month, e.customer_id, 'forecast', NULL, e.next_segment_id, n.segment_name, e.segment_id, f.segment_name,
        e.probability
    FROM expected AS e
    LEFT JOIN segment_profiles AS n ON n.month = e.month AND n.segment_id = e.next_segment_id
    LEFT JOIN segment_profiles AS f ON f.month = e.month AND f.segment_id = e.segment_id
    WHERE e.next_segment_id <> e.segment_id
    """,
)


VIEWS = (FORECAST_QUALITY, SEGMENT_MOVES, SEGMENT_EVENTS)
