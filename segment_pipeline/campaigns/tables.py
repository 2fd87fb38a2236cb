"""What to do with whom, and whether it worked."""

from segment_pipeline.database.tables import CUSTOMER_ID, MONTH, Column, Table, View

CUSTOMER_ACTIONS = Table(
    "customer_actions",
    "What to do with a customer this month: the most specific of the configured actions that apply.",
    (
        MONTH,
        CUSTOMER_ID,
        Column("tier", "VARCHAR", "", "dominant, hybrid, diffuse or leaning; see monthly_assignments."),
        Column("action_id", "VARCHAR", "", "The action; NULL where none applies, or while none is configured."),
        Column("segment_id", "INTEGER", "", "The customer's segment."),
        Column("second_segment_id", "INTEGER", "", "The segment with the second largest probability."),
        Column("campaign", "VARCHAR", "", "The campaign that covers the customer's own action; NULL where none does."),
        Column(
            "arm",
            "VARCHAR",
            "",
            "Arm of the campaign: matched (the action of the own segment), random (another action, of another "
            "segment) or control (no contact: no action, whatever the segment); NULL without a campaign.",
        ),
        Column("what", "VARCHAR", "", "What is done, in a sentence."),
        Column("owner", "VARCHAR", "", "Who sees to it."),
        Column("channel", "VARCHAR", "", "How the customer is reached."),
        Column("kpi", "VARCHAR", "", "The figure by which it is judged."),
        Column("measure_until", "DATE", "date", "Until when that figure is measured."),
    ),
    ("month", "customer_id"),
)


CAMPAIGN_PLANS = Table(
    "campaign_plans",
    "A campaign as the run of a month read it while it ran, and drew the arms of customer_actions by it.",
    (
        MONTH,
        Column("campaign", "VARCHAR", "", "Its name in the campaign file."),
        Column("campaign_month", "DATE", "month", "The closed month whose customers and actions it is about."),
        Column("start", "DATE", "date", "First day on which an outcome counts."),
        Column("measure_until", "DATE", "date", "The day from which outcomes count no more."),
        Column("matched", "DOUBLE", "0..1", "Share of its customers who get the action of their own segment."),
        Column("random", "DOUBLE", "0..1", "Share of its customers who get another action at random."),
        Column("control", "DOUBLE", "0..1", "Share of its customers who are left alone."),
        Column("actions", "VARCHAR[]", "", "The actions that it covers; NULL for all."),
        Column("value_cap", "DOUBLE", "currency", "A customer's value above it counts as this; NULL for the default."),
    ),
    ("month", "campaign"),
)


CAMPAIGN_LIFT = Table(
    "campaign_lift",
    "What a campaign's matched actions changed, against random actions and against no contact. A campaign has rows in "
    "the month whose actions it tests (how small an effect it can find), in the month in which it is measured, and in "
    "the months between its end and then, which say why it could not be.",
    (
        Column("month", "DATE", "month", "The closed month whose run planned or measured the campaign."),
        Column("campaign", "VARCHAR", "", "Its name in the campaign file."),
        Column("segment_id", "INTEGER", "", "Segment of its customers when it began; NULL for the whole campaign."),
        Column("metric", "VARCHAR", "", "conversion (share of customers with an outcome) or value (mean a customer)."),
        Column("against", "VARCHAR", "", "The arm with which matched is compared: random or control."),
        Column("matched", "DOUBLE", "0..1, or currency", "The metric among matched customers, contacted or not."),
        Column(
            "random",
            "DOUBLE",
            "0..1, or currency",
            "The metric among customers with another action, of a random segment.",
        ),
        Column("control", "DOUBLE", "0..1, or currency", "The metric among customers without contact."),
        Column("lift", "DOUBLE", "0..1, or currency", "matched less the arm it is compared with; NULL if withheld."),
        Column("lift_low", "DOUBLE", "0..1, or currency", "Lower end of the lift's 95 % interval."),
        Column("lift_high", "DOUBLE", "0..1, or currency", "Upper end of the lift's 95 % interval."),
        Column("p_value", "DOUBLE", "0..1", "How likely so large a difference is without any effect."),
        Column("adjusted_p", "DOUBLE", "0..1", "The same after Holm's correction over the segments of a comparison."),
        Column("matched_customers", "BIGINT", "customers", "Customers assigned to matched."),
        Column("random_customers", "BIGINT", "customers", "Customers assigned to random."),
        Column("control_customers", "BIGINT", "customers", "Customers assigned to control."),
        Column("cap", "DOUBLE", "currency", "A customer's value above this counts as this; NULL for conversion."),
        Column(
            "sample_ratio_p",
            "DOUBLE",
            "0..1",
            "How likely arms of these sizes are under the shares; below 0.001 the lift is withheld.",
        ),
        Column(
            "minimum_detectable_effect",
            "DOUBLE",
            "0..1, or currency",
            "The smallest lift that a campaign of this size finds in 80 % of cases, from the outcomes before it; NULL "
            "in the rows that measure it.",
        ),
        Column(
            "verdict",
            "VARCHAR",
            "",
            "In words; begins with higher, lower, no clear difference, too few, withheld or not measured.",
        ),
    ),
    ("month", "campaign", "segment_id", "metric", "against"),
)


AUDIENCE_FEED = Table(
    "audience_feed",
    "Who entered and who left each segment and tier since the month before: apply it to last month's lists and they "
    "hold this month's customers.",
    (
        MONTH,
        Column("audience_type", "VARCHAR", "", "segment or tier."),
        Column("audience", "VARCHAR", "", "Segment id as text, or the tier."),
        CUSTOMER_ID,
        Column("change", "VARCHAR", "", "entered or left."),
        Column(
            "by_refit",
            "BOOLEAN",
            "",
            "Of a segment: whether this month's champion sees the customer there the month before as well, so that a "
            "refit alone puts it elsewhere (or the champion of then, where that month lacks a feature of this one; "
            "where neither sees both, all ids are others, and it is true). Of a tier: whether this month's champion "
            "has the customer in the same tier the month before, where another champion published a different one; "
            "false where it cannot see that month.",
        ),
    ),
    ("month", "audience_type", "audience", "change", "customer_id"),
)


ACTION_RESULTS = View(
    "action_results",
    "What came of the actions of a campaign in each of its arms: campaign_lift, a row for each arm, with the actions "
    "that its customers were given. An arm of a segment may have several, one for each tier: the result is theirs "
    "together.",
    (
        Column("month", "DATE", "month", "The closed month whose run measured it."),
        Column("campaign", "VARCHAR", "", "Its name in the campaign file."),
        Column("segment_id", "INTEGER", "", "Segment of its customers when it began; NULL for the whole campaign."),
        Column("segment_name", "VARCHAR", "", "That segment's name then; NULL likewise."),
        Column("arm", "VARCHAR", "", "matched, random or control."),
        Column("actions", "VARCHAR", "", "What its customers were given, with commas between; none in control."),
        Column("customers", "BIGINT", "customers", "Customers assigned to the arm."),
        Column("metric", "VARCHAR", "", "conversion (share of customers with an outcome) or value (mean a customer)."),
        Column("result", "DOUBLE", "0..1, or currency", "The metric among them."),
        Column(
            "lift_against_control",
            "DOUBLE",
            "0..1, or currency",
            "What matched changed against no contact; NULL in other arms, without a control, or where it is withheld.",
        ),
        Column("lift_low", "DOUBLE", "0..1, or currency", "Lower end of that lift's 95 % interval; NULL likewise."),
        Column("lift_high", "DOUBLE", "0..1, or currency", "Upper end."),
        Column("verdict", "VARCHAR", "", "That of the comparison with control or, without one, with random."),
    ),
    """
    WITH compared AS (
        SELECT month, campaign, segment_id, metric, max(matched) AS matched, max(random) AS random,
            max(control) AS control, max(matched_customers) AS matched_customers,
            max(random_customers) AS random_customers, max(control_customers) AS control_customers,
            max(CASE WHEN against = 'control' THEN lift END) AS lift,
            max(CASE WHEN against = 'control' THEN lift_low END) AS lift_low,
            max(CASE WHEN against = 'control' THEN lift_high END) AS lift_high,
            coalesce(max(CASE WHEN against = 'control' THEN verdict END), max(verdict)) AS verdict
        FROM campaign_lift WHERE sample_ratio_p IS NOT NULL GROUP BY month, campaign, segment_id, metric
    ),
    arms AS (
        SELECT *, 'matched' AS arm, matched_customers AS customers, matched AS result FROM compared
        UNION ALL SELECT *, 'random', random_customers, random FROM compared
        UNION ALL SELECT *, 'control', control_customers, control FROM compared
    ),
    assigned AS (
        SELECT DISTINCT c.campaign, c.segment_id, c.arm, c.action_id, a.segment_name
        FROM customer_actions AS c
        JOIN monthly_assignments AS a ON a.month = c.month AND a.customer_id = c.customer_id
        WHERE c.campaign IS NOT NULL
    ),
    given AS (
        SELECT campaign, segment_id, arm, min(segment_name) AS segment_name,
            string_agg(DISTINCT action_id, ', ' ORDER BY action_id) AS actions
        FROM assigned GROUP BY campaign, segment_id, arm
        UNION ALL
        SELECT campaign, NULL, arm, NULL, string_agg(DISTINCT action_id, ', ' ORDER BY action_id)
        FROM assigned GROUP BY campaign, arm
    )
    SELECT r.month, r.campaign, r.segment_id, g.segment_name, r.arm, coalesce(g.actions, 'none') AS actions,
        r.customers, r.metric, r.result, CASE r.arm WHEN 'matched' THEN r.lift END AS lift_against_control,
        CASE r.arm WHEN 'matched' THEN r.lift_low END AS lift_low,
        CASE r.arm WHEN 'matched' THEN r.lift_high END AS lift_high, r.verdict
    FROM arms AS r
    LEFT JOIN given AS g ON g.campaign = r.campaign AND g.arm = r.arm AND g.segment_id IS NOT DISTINCT FROM r.segment_id
    WHERE r.customers > 0
    """,
)


TABLES = (CUSTOMER_ACTIONS, AUDIENCE_FEED, CAMPAIGN_PLANS, CAMPAIGN_LIFT)

VIEWS = (ACTION_RESULTS,)
