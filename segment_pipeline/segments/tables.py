"""Who is where, what the segments look like, who moved, and whether the model still fits."""

from segment_pipeline.database.tables import CUSTOMER_ID, MODEL_VERSION, MONTH, SEGMENT_ID, Column, Table, View

MONTHLY_ASSIGNMENTS = Table(
    "monthly_assignments",
    "A customer's membership of every segment in a month, under that month's champion.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("segment_id", "INTEGER", "", "The segment with the largest membership probability."),
        Column("segment_name", "VARCHAR", "", "That segment's name."),
        Column("max_probability", "DOUBLE", "0..1", "Probability of that segment."),
        Column(
            "previous_segment_id",
            "INTEGER",
            "",
            "Where this month's champion sees the customer the month before; in a month of promotion that may be "
            "another segment than was published then. NULL for who was not there, where that month lacks a feature of "
            "the champion, and in months of before there was this column.",
        ),
        Column("second_segment_id", "INTEGER", "", "The segment with the second largest probability."),
        Column("second_probability", "DOUBLE", "0..1", "Probability of the second segment."),
        Column("entropy", "DOUBLE", "0..1 of the maximum", "Uncertainty: 0 is certain, 1 is all segments alike."),
        Column("is_hybrid", "BOOLEAN", "", "Whether the tier is hybrid.", now="tier = 'hybrid'"),
        Column(
            "tier",
            "VARCHAR",
            "",
            "How sure the segment is: dominant (surely this one), hybrid (of two at once), diffuse (none is likely) or "
            "leaning (rather this one): the first that applies, in that order. Its limits: tiers.",
        ),
        Column(
            "position_to_second",
            "DOUBLE",
            "0..1",
            "Where this month's behaviour lies on the line from the centre of its segment (0, or beyond) to that of "
            "the second (1, or beyond): a projection in the metric of both, the mean of their covariances. A "
            "probability says how sure the segment is; this, how much of the second there is. NULL beside a segment "
            "that a rule makes (model.hurdle), and in months of before there was this column.",
        ),
        Column(
            "is_between",
            "BOOLEAN",
            "",
            "Whether it lies between the two: at least tiers.is_between (0.25) of that line from both centres, and "
            "farther than 19 of 20 of either segment's own customers would. Between segments that overlap nobody does. "
            "NULL in months of before there was this column.",
        ),
        Column(
            "log_likelihood",
            "DOUBLE",
            "nats",
            "Log density of the customer's transformed features; higher is more typical.",
        ),
        Column(
            "is_atypical",
            "BOOLEAN",
            "",
            "Whether log_likelihood is below the 1st percentile of the customers that the champion was fitted to: more "
            "unusual than 99 % of them. In the month of the fit it is one in a hundred of these very customers.",
        ),
        Column("segment_ids", "INTEGER[]", "", "All segments of the champion, ascending."),
        Column(
            "probabilities",
            "DOUBLE[]",
            "0..1",
            "Membership probability in each of segment_ids; they sum to 1. Under a champion with memory it takes the "
            "months before into account.",
        ),
        Column(
            "month_only_probabilities",
            "DOUBLE[]",
            "0..1",
            "What this month's behaviour alone would say, nothing known of the months before: the same in the same "
            "order, so that a jump can be explained. They sum to 1; NULL under a champion without memory.",
        ),
        Column(
            "next_probabilities",
            "DOUBLE[]",
            "0..1",
            "Probability of being in each of segment_ids next month, higher is likelier; with next_lapse_probability "
            "they sum to 1. NULL under a champion without memory.",
        ),
        Column(
            "next_lapse_probability",
            "DOUBLE",
            "0..1",
            "Probability of having no order in the window that ends next month. Of a source of orders it is that of "
            "customers of such memberships who last ordered as long ago (silence_dynamics): about 0 for who has an "
            "order that the next window holds as well. Of another source, which does not tell it, that of all "
            "customers of such memberships: right on average only. Lower is better. NULL under a champion without "
            "memory.",
        ),
        MODEL_VERSION,
    ),
    ("month", "customer_id"),
)


CUSTOMER_CHANGES = Table(
    "customer_changes",
    "Why a customer is in its segment, beside the month before: the change of the log-odds of that segment against all "
    "others, by this month's champion in both months, as a sum of what each feature and the months before contribute. "
    "Who was not there the month before, or could not be seen then, has no row.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("segment_id", "INTEGER", "", "The segment that is spoken of: the customer's in this month."),
        Column(
            "log_odds",
            "DOUBLE",
            "nats",
            "ln(p / (1 - p)) of that segment's probability; NULL where a rule (model.hurdle) decides.",
        ),
        Column(
            "change_of_log_odds",
            "DOUBLE",
            "nats",
            "That less the same of the month before: above 0, the customer has come nearer to the segment. NULL "
            "where a rule decides in one of the two.",
        ),
        Column(
            "reason_1",
            "VARCHAR",
            "",
            "What contributed most to the change, whichever way: a feature, or the months before. NULL where nothing "
            "has changed; where a rule decides, the rule's feature.",
        ),
        Column("contribution_1", "DOUBLE", "nats", "Its part of the change: above 0, it speaks for the segment."),
        Column("reason_2", "VARCHAR", "", "What contributed second most; NULL likewise."),
        Column("contribution_2", "DOUBLE", "nats", "Its part of the change."),
        Column("reasons", "VARCHAR[]", "", "All: the champion's features, and the months before if it has a memory."),
        Column(
            "contributions", "DOUBLE[]", "nats", "The part of each of reasons; they sum to the change. NULL likewise."
        ),
        MODEL_VERSION,
    ),
    ("month", "customer_id"),
)


MEMORY_STATES = Table(
    "memory_states",
    "What a champion with memory knows of a customer at the end of a month: what it scores the next month with. Who "
    "was a customer already and has no row has lapsed.",
    (
        MONTH,
        CUSTOMER_ID,
        MODEL_VERSION,
        Column(
            "probabilities",
            "DOUBLE[]",
            "0..1",
            "Probability of each of the champion's segments, ascending, and last of having lapsed; they sum to 1. The "
            "last is 0 for who was seen; of who was rejected nothing was learnt in the month.",
        ),
    ),
    ("month", "model_version", "customer_id"),
    published=False,
)


SEGMENT_DYNAMICS = Table(
    "segment_dynamics",
    "How customers go on from month to month, as a champion with memory learned it: with what probability a customer "
    "of a segment is in each state a month later. Empty for a champion without memory.",
    (
        Column("month", "DATE", "month", "First day of the closed month in which the champion was promoted."),
        MODEL_VERSION,
        Column("from_state", "VARCHAR", "", "Segment id as text, or lapsed: without an order in the window."),
        Column("to_state", "VARCHAR", "", "Segment id as text, or lapsed, a month later."),
        Column("probability", "DOUBLE", "0..1", "Probability of to_state; those of a from_state sum to 1."),
        Column(
            "expected_months",
            "DOUBLE",
            "months",
            "How long a customer who is in from_state would stay by this matrix, this month included, 1 or more. Too "
            "long where customers of a segment differ for good. NULL but where to_state is from_state.",
        ),
    ),
    ("month", "from_state", "to_state"),
)


SILENCE_DYNAMICS = Table(
    "silence_dynamics",
    "How customers of a segment go on, told apart by how long ago they last ordered, as the months up to this one have "
    "shown it: what next_probabilities and next_lapse_probability stand on. Of a source of orders alone; empty for a "
    "champion without memory.",
    (
        MONTH,
        MODEL_VERSION,
        Column(
            "months_silent",
            "INTEGER",
            "months",
            "Months from that of the last order to this one, 0 for this one itself: the least of those told together, "
            "in windows of more than 12 months. Only those of the most can lapse in a month.",
        ),
        Column("from_state", "VARCHAR", "", "Segment id as text."),
        Column(
            "to_state", "VARCHAR", "", "Segment id as text a month later, or lapsed: without an order in the window."
        ),
        Column(
            "customers",
            "DOUBLE",
            "customers",
            "How many are expected to have made that move, over all months that the champion remembers up to this one.",
        ),
        Column(
            "probability",
            "DOUBLE",
            "0..1",
            "Probability of to_state: of so many customers, and of 20 more, who lapse as often as all customers of "
            "that silence did and who, where they do not, go on as segment_dynamics says. Those of a from_state and "
            "months_silent sum to 1.",
        ),
    ),
    ("month", "months_silent", "from_state", "to_state"),
)


SEGMENT_PROFILES = Table(
    "segment_profiles",
    "A segment's profile in a month.",
    (
        MONTH,
        SEGMENT_ID,
        Column("name", "VARCHAR", "", "The same as segment_name, under its name of before; read that."),
        Column(
            "segment_name", "VARCHAR", "", "The segment's name; it stays while the segment continues.", before="name"
        ),
        Column("role", "VARCHAR", "", "engaged, casual, at_risk or dormant; NULL where the features cannot tell."),
        Column("customers", "BIGINT", "customers", "Customers whose largest probability is this segment."),
        Column("share", "DOUBLE", "0..1", "Share of the month's assigned customers."),
        Column(
            "share_before",
            "DOUBLE",
            "0..1",
            "Its share the month before as this month's champion sees it, so that share less share_before is the "
            "customers' doing and never a refit's. NULL in the first month, where the month before lacks a feature of "
            "the champion, and in months of before there was this column.",
        ),
        Column(
            "total_spend",
            "DOUBLE",
            "currency",
            "What its customers spent in the window, as far as their spend is known; NULL where no feature tells it.",
        ),
        Column(
            "average_spend",
            "DOUBLE",
            "currency",
            "total_spend over customers: what one of them spent in the window. NULL likewise, and of nobody.",
            before="total_spend / nullif(customers, 0)",
        ),
        Column(
            "revenue_share",
            "DOUBLE",
            "share",
            "Share of what all assigned customers spent; 0 to 1 but where returns make spend negative. NULL likewise.",
        ),
        Column(
            "hybrid_share",
            "DOUBLE",
            "0..1",
            "Share of its customers whose tier is hybrid; NULL when it has none.",
            now="(SELECT CAST(count(CASE WHEN a.tier = 'hybrid' THEN 1 END) AS DOUBLE) / nullif(count(*), 0) "
            "FROM monthly_assignments AS a "
            "WHERE a.month = segment_profiles.month AND a.segment_id = segment_profiles.segment_id)",
        ),
        Column("narrative", "VARCHAR", "", "The profile in one or two sentences."),
        MODEL_VERSION,
    ),
    ("month", "segment_id"),
)


SEGMENT_FEATURE_PROFILES = Table(
    "segment_feature_profiles",
    "A feature of a segment in a month, in original units, over the customers assigned to it.",
    (
        MONTH,
        SEGMENT_ID,
        Column("feature", "VARCHAR", "", "The feature."),
        Column("unit", "VARCHAR", "", "The feature's unit."),
        Column(
            "mean",
            "DOUBLE",
            "the feature's unit",
            "Mean over the customers whose value is known, each counted once: such means do not multiply up (orders "
            "times order value is not the spend).",
        ),
        Column("p10", "DOUBLE", "the feature's unit", "10th percentile."),
        Column("p50", "DOUBLE", "the feature's unit", "Median."),
        Column("p90", "DOUBLE", "the feature's unit", "90th percentile."),
        Column("population_mean", "DOUBLE", "the feature's unit", "Mean over all assigned customers of the month."),
        Column(
            "index",
            "DOUBLE",
            "100 = population",
            "100 times mean over population_mean; NULL where that is 0, or one of them below 0, and of a log-ratio.",
        ),
        Column(
            "known_share",
            "DOUBLE",
            "0..1",
            "Share of the segment's customers whose value is known: below 1 where values of a portrait feature were "
            "missing or impossible, and left out.",
        ),
    ),
    ("month", "segment_id", "feature"),
)


SEGMENT_CATEGORIES = Table(
    "segment_categories",
    "What the customers assigned to a segment spend their money on, of the ten categories on which all customers spend "
    "most; whether or not a category is in the model. Empty where the source has no categories.",
    (
        MONTH,
        SEGMENT_ID,
        Column("category", "VARCHAR", "", "The category; (other) for all but the ten, (none) for lines without one."),
        Column("share", "DOUBLE", "0..1", "Share of the segment's spend in the window; those of a segment sum to 1."),
        Column("population_share", "DOUBLE", "0..1", "Share of the spend of all assigned customers of the month."),
        Column("index", "DOUBLE", "100 = population", "100 times share over population_share; NULL when that is 0."),
        Column(
            "buyers", "DOUBLE", "0..1", "Share of the segment's customers who spent on it: more than they got back."
        ),
        Column("population_buyers", "DOUBLE", "0..1", "Share of all assigned customers who did."),
    ),
    ("month", "segment_id", "category"),
)


SEGMENT_EXAMPLES = Table(
    "segment_examples",
    "Of each segment one real customer who is of another as well (is_between; where nobody is, a hybrid), of that one "
    "of which most of these are, whom its purchases tell apart most: of those who spent at least half as much as these "
    "do on average, the one with the largest share on a category beyond the segment's own. None of a segment without "
    "such a customer, and where the source has no categories.",
    (
        MONTH,
        SEGMENT_ID,
        CUSTOMER_ID,
        Column("max_probability", "DOUBLE", "0..1", "Probability of the segment."),
        Column("second_segment_id", "INTEGER", "", "The segment that the customer stands near as well."),
        Column("second_probability", "DOUBLE", "0..1", "Probability of that."),
        Column("is_between", "BOOLEAN", "", "Whether the customer lies between the two; see monthly_assignments."),
        Column(
            "position_to_second",
            "DOUBLE",
            "0..1",
            "Where it lies from the centre of the one (0) to that of the other (1); see monthly_assignments.",
        ),
        Column(
            "category", "VARCHAR", "", "What the customer buys more of than its segment: one of the ten told apart."
        ),
        Column("share", "DOUBLE", "0..1", "Share of the customer's spend in the window that is on it."),
        Column("segment_share", "DOUBLE", "0..1", "Share of the segment's spend that is on it."),
        Column(
            "second_segment_share",
            "DOUBLE",
            "0..1",
            "Share of the second segment's spend that is on it; NULL where nobody is assigned to that.",
        ),
    ),
    ("month", "segment_id"),
)


TRANSITION_DELTAS = Table(
    "transition_deltas",
    "A customer's movement from the month before to this month, both measured with this month's champion; with the "
    "month before's where that month lacks a feature of it, and in refits of before this was so (model_version says).",
    (
        MONTH,
        CUSTOMER_ID,
        Column("from_state", "VARCHAR", "", "Segment id as text in the month before; or new, returned, rejected."),
        Column("to_state", "VARCHAR", "", "Segment id as text in this month; or lapsed, rejected."),
        Column("from_segment_id", "INTEGER", "", "Segment in the month before; NULL for a pseudo-state."),
        Column("to_segment_id", "INTEGER", "", "Segment in this month; NULL for a pseudo-state."),
        Column(
            "shift",
            "DOUBLE",
            "0..1",
            "Half the sum of absolute probability changes: 0 stayed, 1 moved entirely; NULL unless in both.",
        ),
        Column(
            "engaged_change",
            "DOUBLE",
            "-1..1",
            "Change of the probability of engaged segments; NULL if there are none.",
        ),
        Column(
            "dormant_change",
            "DOUBLE",
            "-1..1",
            "Change of the probability of at_risk and dormant segments; NULL if the champion has none.",
        ),
        Column(
            "moved_probability",
            "DOUBLE",
            "0..1",
            "Probability that it is not in the segment in which it was the month before, given all that was seen of it "
            "up to this month, which may put the move in an earlier one. NULL under a champion without memory, and "
            "unless in both.",
        ),
        Column("segment_ids", "INTEGER[]", "", "The segments of the measuring champion, ascending."),
        Column("changes", "DOUBLE[]", "-1..1", "Change of the probability of each of segment_ids; they sum to 0."),
        Column(
            "model_version",
            "INTEGER",
            "",
            "The measuring champion: the one that serves this month or, where the month before lacks a feature of it, "
            "the one that served that. NULL where neither can see both months: the states are then each month's own "
            "segments, and a change of them is no movement.",
        ),
    ),
    ("month", "customer_id"),
)


TRANSITION_MATRIX = Table(
    "transition_matrix",
    "How many customers moved from one state to another between the month before and this month. Both states are "
    "segments of the measuring champion (model_version of transition_deltas), this month's where it can be: in a "
    "month of promotion from_state is then what the new champion makes of the month before.",
    (
        MONTH,
        Column("from_state", "VARCHAR", "", "Segment id as text, or new, returned, rejected."),
        Column("to_state", "VARCHAR", "", "Segment id as text, or lapsed, rejected."),
        Column("customers", "BIGINT", "customers", "Customers who made this move, each in its likeliest segments."),
        Column(
            "share",
            "DOUBLE",
            "0..1",
            "Share of the customers in from_state, 0 of a move that nobody made; NULL where it has no customers.",
            now="coalesce(share, CASE WHEN EXISTS (SELECT 1 FROM transition_matrix AS m "
            "WHERE m.month = transition_matrix.month AND m.from_state = transition_matrix.from_state "
            "AND m.customers > 0) THEN 0 END)",
        ),
        Column(
            "expected",
            "DOUBLE",
            "customers",
            "Customers expected to have made this move: each counts for every pair of segments with the probability of "
            "that pair, given all that was seen of it up to this month, and as one in a state that is no segment. "
            "A move that nobody seems to have made, but somebody may have, has 0 customers. NULL under a champion "
            "without memory.",
        ),
    ),
    ("month", "from_state", "to_state"),
)


JOURNEY_PATHS = Table(
    "journey_paths",
    "The commonest paths of customers over the last 2 to 6 months up to this one, of those who were in a segment when "
    "the path begins. A state is the role of the segment in which this month's champion sees the customer then, or the "
    "segment's name where there are no roles; lapsed and rejected are states as well.",
    (
        MONTH,
        Column("months", "INTEGER", "months", "Length of the path, 2 to 6, both ends included."),
        Column("path", "VARCHAR[]", "", "The states, month after month; the last is that of this month."),
        Column("from_state", "VARCHAR", "", "The first state of the path."),
        Column("to_state", "VARCHAR", "", "The last state of the path."),
        Column("customers", "BIGINT", "customers", "Customers who took this path."),
        Column("share", "DOUBLE", "0..1", "Share of the customers who began in from_state, these months ago."),
        Column("place", "INTEGER", "", "1 for the commonest path of this length; the first 100 are kept."),
        Column(
            "crosses_refit",
            "BOOLEAN",
            "",
            "Whether this month's champion cannot see all of these months, so that some states are those of a champion "
            "before it: some changes are then not the customers' own.",
        ),
    ),
    ("month", "months", "place"),
)


JOURNEY_CONVERSION = Table(
    "journey_conversion",
    "What became of the customers of a state one to five months later: do casual customers become regulars, or go "
    "quiet, and how soon?",
    (
        MONTH,
        Column("from_state", "VARCHAR", "", "Role (or segment name) in which they were, months_later before `month`."),
        Column("months_later", "INTEGER", "months", "How many months they had, 1 to 5."),
        Column("customers", "BIGINT", "customers", "Customers who were in from_state then."),
        Column(
            "reached_engaged", "DOUBLE", "0..1", "Share that was engaged at least once since; NULL from engaged itself."
        ),
        Column(
            "reached_dormant",
            "DOUBLE",
            "0..1",
            "Share that was dormant, or lapsed (without an order), at least once since; NULL from dormant itself.",
        ),
        Column("lapsed", "DOUBLE", "0..1", "Share that has no order in this month's window."),
        Column(
            "crosses_refit",
            "BOOLEAN",
            "",
            "Whether this month's champion cannot see all of these months, so that some states are those of a champion "
            "before it: some changes are then not the customers' own.",
        ),
    ),
    ("month", "from_state", "months_later"),
)


DRIFT_ALERTS = Table(
    "drift_alerts",
    "A figure that says whether the model still fits its customers, with its limit and the state of the alert.",
    (
        MONTH,
        Column("metric", "VARCHAR", "", "What was measured; see docs/how-to/thresholds.md."),
        Column("segment_id", "INTEGER", "", "The segment it concerns; NULL for the whole base."),
        Column("feature", "VARCHAR", "", "The feature it concerns, or the tier of an audience_size; NULL where none."),
        Column(
            "value",
            "DOUBLE",
            "the metric's unit",
            "The figure. NULL of an alert that is resolved because nobody measures it any more, as memory_available "
            "once a memory serves.",
        ),
        Column(
            "threshold",
            "DOUBLE",
            "the metric's unit",
            "The configured limit; of audience_size what its own past reaches, where that is more.",
        ),
        Column("fired", "BOOLEAN", "", "Whether the limit was crossed this month."),
        Column(
            "status",
            "VARCHAR",
            "",
            "new (fired now, not last month), ongoing (fired both), resolved (last month only), or NULL (quiet).",
        ),
        Column(
            "severity",
            "VARCHAR",
            "",
            "What a fired figure leads to: hard, a refit at once; soft, a refit if it lasts; alert, nothing by itself. "
            "echo has not fired: beyond its limit, it may be what the champion was promoted for, as the features still "
            "look back before that; once they do not, the champion follows it, which is no alarm. NULL while quiet.",
        ),
        Column("months_fired", "INTEGER", "months", "Months in a row in which it has fired; 0 while quiet."),
    ),
    ("month", "metric", "segment_id", "feature"),
)


FEATURE_DRIFT = Table(
    "feature_drift",
    "How a feature is distributed against the customers that the champion was fitted to, and what the model feels.",
    (
        MONTH,
        Column("model_version", "INTEGER", "", "The champion of the month before, under which this is measured."),
        Column("feature", "VARCHAR", "", "The feature."),
        Column("reference_month", "DATE", "month", "The month to whose customers that champion was fitted."),
        Column("psi", "DOUBLE", "", "Population stability index over the reference's tenths; 0 is alike."),
        Column("psi_limit", "DOUBLE", "", "drift.max_psi, or what chance reaches with so few customers if larger."),
        Column("wasserstein", "DOUBLE", "standard deviations", "Distance of the two distributions; 0 is alike."),
        Column("wasserstein_limit", "DOUBLE", "standard deviations", "As psi_limit, from drift.max_wasserstein."),
        Column("mean_change", "DOUBLE", "standard deviations", "Change of the transformed feature's mean, signed."),
        Column("drifted", "BOOLEAN", "", "Whether one of the two is beyond its limit."),
        Column("segment_id", "INTEGER", "", "The segment whose centre moved most in this feature."),
        Column("component_mean_shift", "DOUBLE", "standard deviations", "How far that centre has moved."),
        Column("sentence", "VARCHAR", "", "All this in words."),
    ),
    ("month", "feature"),
)


MEMBERSHIP = View(
    "membership",
    "One row per month, customer and segment: the probabilities of monthly_assignments, unnested.",
    (
        MONTH,
        CUSTOMER_ID,
        SEGMENT_ID,
        Column("segment_name", "VARCHAR", "", "The segment's name."),
        Column("role", "VARCHAR", "", "The segment's role: engaged, casual, at_risk or dormant; NULL without roles."),
        Column("probability", "DOUBLE", "0..1", "Membership probability; over a customer's segments they sum to 1."),
    ),
    """
    SELECT m.month, m.customer_id, m.segment_id, p.segment_name, p.role, m.probability
    FROM (
        SELECT month, customer_id, unnest(segment_ids) AS segment_id, unnest(probabilities) AS probability
        FROM monthly_assignments
    ) AS m
    LEFT JOIN segment_profiles AS p ON p.month = m.month AND p.segment_id = m.segment_id
    """,
)


CURRENT_ASSIGNMENTS = View(
    "current_assignments",
    "monthly_assignments of the latest month.",
    MONTHLY_ASSIGNMENTS.columns,
    "SELECT * FROM monthly_assignments WHERE month = (SELECT max(month) FROM monthly_assignments)",
)


CURRENT_PROFILES = View(
    "current_profiles",
    "segment_profiles of the latest month.",
    SEGMENT_PROFILES.columns,
    "SELECT * FROM segment_profiles WHERE month = (SELECT max(month) FROM segment_profiles)",
)


TABLES = (
    MONTHLY_ASSIGNMENTS,
    CUSTOMER_CHANGES,
    MEMORY_STATES,
    SEGMENT_DYNAMICS,
    SILENCE_DYNAMICS,
    SEGMENT_PROFILES,
    SEGMENT_FEATURE_PROFILES,
    SEGMENT_CATEGORIES,
    SEGMENT_EXAMPLES,
    TRANSITION_DELTAS,
    TRANSITION_MATRIX,
    JOURNEY_PATHS,
    JOURNEY_CONVERSION,
)

DRIFT_TABLES = (DRIFT_ALERTS, FEATURE_DRIFT)
"""Not whom the segments hold, but whether the model still fits: told after the audit."""

VIEWS = (MEMBERSHIP, CURRENT_ASSIGNMENTS, CURRENT_PROFILES)
