"""The words of the report's first screen, from rows made here: what is said first, and what decides it."""

from datetime import date

from segment_pipeline.early_warnings.contact_list import Standing
from segment_pipeline.report.briefing import Briefing, brief, finding_of_moves, finding_of_shares, period_of
from segment_pipeline.sources.reconciliation import Part

MARCH, APRIL, MAY = date(2023, 3, 1), date(2023, 4, 1), date(2023, 5, 1)


def story(**changes):
    """What the five answers are made of."""
    segments = [
        {"segment_id": 1, "name": "Regulars", "share": 0.6, "change": 0.05, "customers": 900, "revenue_share": 0.8},
        {"segment_id": 2, "name": "Guests", "share": 0.4, "change": -0.05, "customers": 600, "revenue_share": 0.2},
    ]
    sizes = ((APRIL, 1400, 80_000.0), (MAY, 1500, 100_000.0))
    chance = {"customers": 1000, "chance_low": 0.02, "chance_high": 0.028, "reason": None}
    plain = {
        "month": MAY,
        "months": [APRIL, MAY],
        "segments": segments,
        "history": [
            row | {"month": month, "customers": row["share"] * size, "total_spend": row["share"] * spend}
            for month, size, spend in sizes
            for row in segments
        ],
        "features": [{"feature": "total_spend", "unit": "EUR"}],
        "movement": {"moved": 30, "stayed": 970, "unmeasured": 0, "new": 5, "returned": 2, "lapsed": 7},
        "chance": [
            chance | {"measure": "moved", "beside_chance": "above"},
            chance | {"measure": "base_shift", "beside_chance": "within"},
        ],
        "money_of_segments": [],
        "warned": {"to_contact": 9},
        "risk_model": {"refused": None},
        "risk_quality": [],
        "queue": [{"customer_id": "a"}],
        "at_risk": None,
        "list_stands_on": "by churn risk alone: no warning has proven to find more",
        "contact_list": None,
        "list_action": None,
        "actions": [],
        "window_months": None,
        "value_quality": [],
        "champion": {"model_version": 2, "trained_month": MARCH, "n_segments": 2},
        "versions": [],
        "alerts": [],
        "suitability": [{"verdict": "mixture", "reason": "A mixture is right here. It is."}],
        "model_validation": [],
        "account": [],
    }
    return plain | changes


def briefed(**changes) -> Briefing:
    return brief(story(**changes))


def test_the_five_answers_say_how_the_base_is_what_changed_whom_to_see_to_what_to_do_and_whether_to_believe_it():
    action = {"segment_id": None, "action_id": "call", "what": "Call them.", "customers": 9, "owner": "CRM"}
    answers = briefed(actions=[action])
    assert answers.sentences == [
        "1,500 customers (+7.1 % on last month, a year ago: not known) and 100,000 EUR spent in the "
        "months looked at (+25.0 % on last month), in 2 segments.",
        "More than chance: 30 of 1,000 customers changed segment, where chance alone moves 20 to 28.",
        "9 customers on this month's contact list.",
        "Call them (CRM, for 9).",
        "Yes: nothing speaks against these segments.",
    ]
    assert answers.changed.more == [
        "All sizes together changed no more than chance explains; the largest change: Regulars, +5.0 points to 60 %.",
        "5 new, 2 came back, 7 lapsed.",
    ]


def test_what_is_done_with_the_list_is_said_first_and_only_where_somebody_is_on_it():
    doing = Standing("any", False, "by churn risk alone", "Write to them.", "CRM", "post", date(2023, 6, 15))
    said = briefed(list_action=doing).actions.said
    assert said == "Write to them (CRM, by 15 June 2023, for the 9 on the contact list)."
    assert briefed(list_action=doing, queue=[]).actions.said.startswith("No action is configured")


def test_a_list_that_nobody_can_judge_yet_says_so():
    judged = {"months": 1, "precision": 0.5, "churn_risk_precision": None, "base_rate": 0.1}
    told = "No earlier list can be judged yet."
    assert told in briefed().attention.more
    assert told not in briefed(contact_list=judged).attention.more


def test_a_year_ago_stands_beside_last_month_where_it_is_known():
    year_ago = [
        {"segment_id": 1, "name": "Regulars", "month": date(2022, 5, 1), "customers": 3000, "total_spend": 50_000.0}
    ]
    known = [date(2022, 5, 1), APRIL, MAY]
    said = briefed(history=[*year_ago, *story()["history"]], months=known).base.said
    assert "(+7.1 % on last month, −50.0 % on a year ago)" in said
    assert "(+25.0 % on last month, +100.0 % on a year ago)" in said
    assert "not published" not in said


def test_a_month_to_compare_with_that_nobody_published_is_named():
    first = [row for row in story()["history"] if row["month"] == MAY]
    assert briefed(history=first, months=[MAY]).base.said == (
        "1,500 customers and 100,000 EUR spent in the months looked at, in 2 segments."
    )
    said = briefed(history=first, months=[date(2022, 1, 1), MAY]).base.said
    assert said.startswith("1,500 customers (last month: not published, a year ago: not published)")


def test_what_is_beyond_chance_is_told_by_its_size_and_what_is_not_says_so():
    flow = {"measure": "transition", "from_state": "1", "to_state": "2", "customers": 600, "observed_customers": 25}
    flow |= {"chance_low": 0.01, "chance_high": 0.03, "beside_chance": "above", "reason": None}
    back = flow | {"from_state": "2", "to_state": "1", "beside_chance": "within"}
    calm = [row | {"beside_chance": "within"} for row in story()["chance"]]
    changed = briefed(chance=[*calm, flow, back]).changed
    assert changed.said.startswith("In all no more than chance: 30 of 1,000")
    assert changed.more[0] == "Beyond chance: 25 went from Regulars to Guests, where chance makes 6 to 18."
    assert not any("Guests → Regulars" in said for said in changed.more)
    more = [flow | {"observed_customers": n, "to_state": to} for n, to in ((24, "lapsed"), (23, "2"))]
    assert briefed(chance=[*calm, flow, *more]).changed.more[2] == "Beyond chance as well: 23 from Regulars to Guests."


def test_what_is_said_of_all_sizes_is_no_judgement_on_the_one_that_is_named():
    moved, shift = story()["chance"]
    beyond = shift | {"beside_chance": "above", "observed_customers": 50}
    assert briefed(chance=[moved, beyond]).changed.more[0] == (
        "Largest change of size: Regulars, +5.0 points to 60 %. All sizes together changed beyond chance: at least 50 "
        "must have moved for it, where chance makes 20 to 28."
    )
    for unknown in ([moved], [moved, beyond | {"reason": "Nobody knows."}]):
        said = "Largest change of size: Regulars, +5.0 points to 60 %."
        assert briefed(chance=unknown).changed.more[0] == said


def test_in_the_month_of_a_refit_the_models_own_step_is_named_and_is_no_change_of_the_customers():
    champion = {"model_version": 2, "trained_month": MAY, "n_segments": 2}
    before = {"model_version": 1, "trained_month": MARCH, "n_segments": 5}
    new = {"champion": champion, "versions": [before, champion], "measured_by": 2, "moved_by_refit": 900}
    assert briefed(**new).changed.more[0] == (
        "A new model began: 2 segments, 5 before. What is said here of April 2023 is by the new one too, so that only "
        "customers move: 900 customers who stayed stand in another segment than was published then."
    )
    alone = briefed(**new | {"moved_by_refit": 1}).changed.more[0]
    assert "1 customer who stayed stands in another segment" in alone
    assert briefed(**new | {"moved_by_refit": 0}).changed.more[0].endswith("so that only customers move.")
    assert briefed(**new).trust.said.startswith("With care: the segments are new this month")
    by_the_one_before = briefed(**new | {"measured_by": 1}).changed.more[0]
    assert by_the_one_before.endswith("Who moved is told by the model before, in both months; all else by the new one.")
    assert "A new model" not in " ".join(briefed(versions=[before, champion]).changed.more)


def test_what_no_model_can_compare_is_said_and_not_made_up():
    others = [{"segment_id": 3, "name": "Regulars", "share": 1.0, "change": None}]
    unmeasured = {"moved": 0, "stayed": 0, "unmeasured": 1000, "new": 5, "returned": 2, "lapsed": 7}
    changed = briefed(segments=others, movement=unmeasured).changed
    assert changed.said == "Who changed segment is not known, as no model sees both months: their features differ."
    assert changed.more[0].startswith("Shares cannot be compared with the month before")
    still = [{"segment_id": 1, "name": "Regulars", "share": 1.0, "change": 0.0}]
    assert briefed(segments=still).changed.more[0] == "No segment's share changed."


def test_who_needs_us_comes_with_the_revenue_at_risk_and_with_how_such_lists_came_true():
    lists = {"months": 3, "precision": 0.24, "base_rate": 0.043, "churn_risk_precision": 0.41}
    lists |= {"money_lost": 58_609.8, "churn_risk_money_lost": 30_167.1, "random_money_lost": 11_544.9}
    attention = briefed(at_risk={"of_list": 1200.4, "of_all": 9000.0}, contact_list=lists).attention
    assert attention.said == (
        "9 customers on this month's contact list, with 1,200 EUR of next year's revenue at risk (9,000 EUR among all "
        "customers)."
    )
    assert attention.more == [
        "Chosen by churn risk alone: no warning has proven to find more.",
        "Of 3 earlier lists, each made by the rule of its month, 24 % fell silent, who spent 19,537 EUR a year per "
        "list. As many customers chosen otherwise: by churn risk alone 41 % and 10,056 EUR; at random 4 % and 3,848 "
        "EUR.",
        "What is expected of spend cannot be judged yet.",
    ]
    silent = briefed(contact_list=lists | {"recency_precision": 0.3}).attention.more[1]
    assert "and 10,056 EUR; by the longest silence 30 %; at random" in silent
    one = briefed(contact_list=lists | {"months": 1, "money_lost": 19_536.6}).attention.more[-1]
    assert one.startswith(
        "Of 1 earlier list, made by the rule of its month, 24 % fell silent, who spent 19,537 EUR a year."
    )
    quality = {"month": MARCH, "inputs": "all", "base_rate": 0.042, "mean_probability": 0.028}
    off = briefed(risk_quality=[quality, quality | {"inputs": "memberships", "mean_probability": 0.042}]).attention.more
    assert off[-1] == "Of March 2023 1.5 times as many fell silent as foretold: take it for too low."
    assert len(briefed(risk_quality=[quality | {"mean_probability": 0.04}]).attention.more) == len(off) - 1
    early = briefed(queue=[], risk_model={"refused": "too early"}, list_stands_on="there is no churn risk yet")
    assert early.attention.said == "Not known yet: there is no churn risk yet."
    assert briefed(queue=[], list_stands_on=None).attention.said == "Nobody: no customer has a warning."


def test_the_money_at_risk_says_how_far_such_money_was_off_and_the_light_knows_it():
    risk = {"of_list": 1200.4, "of_all": 9000.0}

    def judged(bias: float, month: date = MARCH, horizon: int = 3) -> dict[str, object]:
        return {"month": month, "horizon_months": horizon, "bias": bias}

    money = [judged(0.9, date(2022, 12, 1)), judged(0.142)]
    answers = briefed(at_risk=risk, value_quality=money)
    assert answers.attention.more[-1] == "The spend expected of the 3 months after March 2023 was 14 % too high."
    assert answers.trust.light == "amber"
    assert answers.trust.said == "With care: the spend expected of the 3 months after March 2023 was 14 % too high."
    near = briefed(at_risk=risk, value_quality=[judged(-0.04)])
    assert near.attention.more[-1].endswith("was 4 % too low.")
    assert near.trust.light == "green"
    assert briefed(at_risk=risk, value_quality=[judged(0.004)]).attention.more[-1].endswith("was right to 1 %.")
    # the money is of twelve months: once twelve are judged, that counts
    year = briefed(at_risk=risk, value_quality=[*money, judged(0.02, date(2022, 5, 1), 12)])
    assert "of the 12 months after May 2022 was 2 % too high" in year.attention.more[-1]
    assert year.trust.light == "green"
    # where no money is shown nothing is said of it
    without = briefed(value_quality=money)
    assert without.trust.light == "green"
    assert not any("expected" in said for said in without.attention.more)


def test_the_light_is_green_amber_or_red_and_says_why():
    figures = [("heldout_gap", True), ("separation", None), ("stability_over_time", False), ("spend_r2_gain", False)]
    validation = [{"metric": metric, "passed": passed, "model_version": 2} for metric, passed in figures]
    # a forecast of the model before, which serves no more, speaks against nobody
    validation.append({"metric": "next_calibration_error", "passed": False, "model_version": 1})
    amber = briefed(model_validation=validation).trust
    assert (amber.light, amber.said) == (
        "amber",
        "With care: drawn anew from this month's customers alone, the segments would be different ones.",
    )
    assert amber.more == [
        "Something simpler foretells spend better.",
        "Of the 3 figures that judge the model 2 break their limits.",
    ]
    drifted = briefed(alerts=[{"metric": "mean_shift", "fired": True}]).trust
    assert drifted.said.endswith("the customers have changed since the segments were drawn (mean shift).")
    red = briefed(suitability=[{"verdict": "no_segments", "reason": "No segments here: one crowd. More."}]).trust
    assert (red.light, red.said) == ("red", "No segments here: one crowd.")
    other = briefed(suitability=[{"verdict": "rules", "reason": "A rule would serve. More."}]).trust
    assert (other.light, other.said) == ("red", "No. A rule would serve.")
    few = briefed(suitability=[{"verdict": "too_few_customers", "reason": "Few. More."}]).trust
    assert (few.light, few.said) == (
        "amber",
        "With care: the customers are few, so take these segments for a first impression.",
    )
    assert briefed().trust.light == "green"


def test_much_of_the_source_that_is_left_out_is_a_reason_for_care_unless_it_was_asked_for():
    def part(reason: str, lines: int) -> Part:
        return Part(reason, lines, lines, 10, None, 0, 0)

    account = [part("used", 800), part("no customer", 200), part("before the window", 9000)]
    assert "20 % of the order lines have no customer." in briefed(account=account).trust.said
    asked = [part("used", 800), part("left out by where", 200)]
    assert briefed(account=asked).trust.light == "green"


def test_the_title_of_the_shares_is_what_they_show():
    assert finding_of_shares(story()) == "Regulars are 60 % of the customers and bring 80 % of what was spent"
    poor = [row | {"revenue_share": None} for row in story()["segments"]]
    assert finding_of_shares(story(segments=poor)) == "Regulars are the largest segment, 60 % of the customers"


def test_the_title_of_the_journeys_does_not_call_the_commonest_move_that_of_most():
    moves = [
        {"from_state": a, "to_state": b, "customers": n}
        for a, b, n in (("1", "1", 970), ("1", "2", 12), ("2", "1", 18))
    ]
    names = {"1": "Regulars", "2": "Guests"}
    assert (
        finding_of_moves(story(moves=moves), names)
        == "97 % stayed where they were; the commonest move, of 18 customers: Guests → Regulars"
    )
    chance = {"measure": "transition", "from_state": "2", "to_state": "1", "beside_chance": "within"}
    assert "of 18 customers, no more than chance makes: Guests" in finding_of_moves(
        story(moves=moves, chance=[chance]), names
    )


def test_the_months_that_the_figures_stand_on_are_named_where_they_are_known():
    assert "customers of the last 3 months (" in briefed(window_months=3).base.said
    assert "spent in the 3 months to May 2023" in briefed(window_months=3).base.said
    assert "customers of the month (" in briefed(window_months=1).base.said
    assert period_of(story()) == "in the months looked at"


def test_a_flow_beyond_chance_says_whether_it_is_good_news():
    flow = {"measure": "transition", "from_state": "1", "to_state": "2", "customers": 600, "observed_customers": 25}
    flow |= {"chance_low": 0.01, "chance_high": 0.03, "beside_chance": "above", "reason": None}
    roles = [row | {"role": role} for row, role in zip(story()["segments"], ("engaged", "at_risk"), strict=True)]
    assert briefed(segments=roles, chance=[flow]).changed.more[0].startswith("Beyond chance: 25 slipped from")
    back = flow | {"from_state": "2", "to_state": "1"}
    assert briefed(segments=roles, chance=[back]).changed.more[0].startswith("Beyond chance: 25 rose from")


def test_what_was_spent_in_the_month_itself_is_told_where_the_file_has_it():
    spent = [
        {"month": month, "segment_id": segment_id, "month_revenue": revenue, "revenue_at_risk": None}
        for month, revenue in ((APRIL, 10_000.0), (MAY, 12_000.0))
        for segment_id in (1, 2)
    ]
    assert "24,000 EUR spent in May 2023 (+20.0 % on last month)" in briefed(money_of_segments=spent).base.said
