"""The five questions of the page's first screen, answered in plain words from the month's rows.

What belongs here: what a marketer is told first, and which figures decide it. What does not: rows (queries.py), layout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from segment_pipeline import words
from segment_pipeline.config.order_features import MONETARY
from segment_pipeline.database.rows import Row
from segment_pipeline.early_warnings.rules_store import STANDING
from segment_pipeline.months import add_months, months_between
from segment_pipeline.movement.chance import chance_in_words
from segment_pipeline.report.queries import Story
from segment_pipeline.report.shown import change, day_name, month_name, percent, points, spoken, unknown, whole
from segment_pipeline.sources.reconciliation import FORMER, OUTSIDE, REASONS, USED, Part

LEFT_OUT_MUCH = 0.05
"""Share of the window's order lines, or of its money, from which what is left out is a reason for care."""

LEFT_OUT_ON_PURPOSE = ("left out by where", FORMER)
"""What the user has asked to be left out, which is no reason for care."""

RISK_OFF = 1.25
"""A ratio of those who fell silent to those foretold from which on, or below its inverse, the risk is called off."""

MONEY_OFF = 0.1
"""By what share of what was spent the spend expected of all customers was off, from which on its money is for care."""

UNEQUAL = 0.05
"""By how much a segment's share of revenue is above its share of customers where it is worth a title."""

BROKEN = {
    "heldout_gap": "the segments fit the customers that they were made from better than customers they have not seen",
    "stability_over_seeds": "another search draws other segments",
    "stability_over_time": "drawn anew from this month's customers alone, the segments would be different ones",
    "separation": "two segments are hardly different",
    "silence_auc": "the segments say nothing of who falls silent",
    "silence_auc_gain": "something simpler foretells silence better",
    "spend_r2": "the segments say nothing of who spends",
    "spend_r2_gain": "something simpler foretells spend better",
    "calibration_error": "probabilities are off from what came true",
    "next_log_score_gain": "looking at one month alone foretells the next better",
    "next_calibration_error": "what was expected of this month is off from what came",
    "next_calibration_gap": "what was expected of this month is off from what came",
}
"""What it means that a figure of `model_validation` breaks its limit."""

USABLE = ("mixture", "k_means_would_serve", "too_few_customers")
"""Verdicts under which these segments may be worked with, the first without care."""


@dataclass(frozen=True)
class Answer:
    """An answer of the first screen: in one sentence, and what else there is to say. light : green, amber or red where
    the question is whether to believe it."""

    said: str
    more: Sequence[str] = ()
    light: str | None = None


@dataclass(frozen=True)
class Briefing:
    """How is the base doing, what really changed, who needs us now, what to do, can I believe it."""

    base: Answer
    changed: Answer
    attention: Answer
    actions: Answer
    trust: Answer

    @property
    def sentences(self) -> list[str]:
        """The five answers, a sentence each."""
        return [answer.said for answer in vars(self).values()]


def brief(story: Story) -> Briefing:
    """The five answers of the month."""
    return Briefing(_base(story), _changed(story), _attention(story), _actions(story), _trust(story))


def headline_figures(story: Story) -> list[tuple[str, str, list[str]]]:
    """Customers and, where the source tells it, what they spent in the month, or in the window where only that is
    known: figure, what it is, and beside the month before and a year ago where those are known."""
    month, customers, spends = story["month"], _sizes(story), _spends(story)
    window = story["window_months"]
    who = (
        "customers"
        if window is None
        else "customers of the month"
        if window == 1
        else f"customers of the last {window} months"
    )
    found = [(whole(customers[month]), who, [*_compared(story, customers), *_not_published(story)])]
    if spends.get(month) is not None:
        when = f"in {month_name(month)}" if story["money_of_segments"] else period_of(story)
        beside = _compared(story, spends)
        found.append((whole(spends[month]), f"{money_of(story)} spent {when}".strip(), beside))
    return found


def _compared(story: Story, figures: Mapping[date, float | None]) -> list[str]:
    month = story["month"]
    earlier = [(when, figures.get(add_months(month, -ago))) for when, ago in _EARLIER]
    return [f"{change(figures[month], then)} on {when}" for when, then in earlier if then]


def _not_published(story: Story) -> list[str]:
    """The months that no figure can stand beside, said once: that nothing is said of them could mean anything."""
    month, months = story["month"], story["months"]
    then = {when: add_months(month, -ago) for when, ago in _EARLIER}
    return [
        f"{when}: {'not known' if one < min(months) else 'not published'}"
        for when, one in then.items()
        # what changed says of the first month that it is one
        if one not in months and month > min(months)
    ]


_EARLIER = (("last month", 1), ("a year ago", 12))


def money_of(story: Story) -> str:
    """The currency, as the user's file calls it; "" where nothing does."""
    return next((row["unit"] for row in story["features"] if row["feature"] == MONETARY), "")


def period_of(story: Story) -> str:
    """When the month's customers did what is told of them."""
    window = story["window_months"]
    if window is None:
        return "in the months looked at"
    return (
        f"in {month_name(story['month'])}" if window == 1 else f"in the {window} months to {month_name(story['month'])}"
    )


def finding_of_shares(story: Story) -> str:
    """The title of the shares: who brings most beside how many they are."""
    told = [row for row in story["segments"] if not unknown(row.get("revenue_share"))]
    if told:
        first = max(told, key=lambda row: row["revenue_share"] - row["share"])
        if first["revenue_share"] - first["share"] >= UNEQUAL:
            return (
                f"{first['name']} are {percent(first['share'])} of the customers and bring "
                f"{percent(first['revenue_share'])} of what was spent"
            )
    largest = story["segments"][0]
    return f"{largest['name']} are the largest segment, {percent(largest['share'])} of the customers"


def finding_of_moves(story: Story, names: Mapping[str, str]) -> str:
    """The title of the journeys: how many stayed, and the commonest move between segments, or that it is chance."""
    moves, moved = story["moves"], story["movement"]
    between = [row for row in moves if row["from_state"] in names and row["to_state"] in names]
    changes = [row for row in between if row["from_state"] != row["to_state"]]
    known = moved["stayed"] + moved["moved"]
    if not known or not changes:
        return "Where the customers of the month before went"
    most = max(changes, key=lambda row: row["customers"])
    by_chance = any(
        row["measure"] == "transition" and row["beside_chance"] == "within"
        for row in story["chance"]
        if (row.get("from_state"), row.get("to_state")) == (most["from_state"], most["to_state"])
    )
    return (
        f"{percent(moved['stayed'] / known)} stayed where they were; the commonest move, of "
        f"{words.counted(most['customers'])}{', no more than chance makes' if by_chance else ''}: "
        f"{names[most['from_state']]} → {names[most['to_state']]}"
    )


def _sizes(story: Story) -> dict[date, float | None]:
    """Customers of each month."""
    return _sums(story["history"], "customers")


def _spends(story: Story) -> dict[date, float | None]:
    """What was spent in each month or, where the file does not tell that, in the window that ends with it."""
    if story["money_of_segments"]:
        return _sums(story["money_of_segments"], "month_revenue")
    return _sums(story["history"], "total_spend")


def _sums(rows: Sequence[Row], column: str) -> dict[date, float | None]:
    """The sum of each month; None where it is not known of every segment."""
    found: dict[date, float | None] = {}
    for month in sorted({row["month"] for row in rows}):
        values = [row.get(column) for row in rows if row["month"] == month]
        known = [value for value in values if value is not None]
        found[month] = sum(known) if len(known) == len(values) else None
    return found


def _base(story: Story) -> Answer:
    figures = headline_figures(story)
    told = [f"{figure} {what}" + (f" ({', '.join(beside)})" if beside else "") for figure, what, beside in figures]
    count = len(story["segments"])
    return Answer(f"{words.listed(told)}, in {count} {'segment' if count == 1 else 'segments'}.")


def _changed(story: Story) -> Answer:
    moved = story["movement"]
    if moved is None:
        return Answer("This is the first month: what changes is known from the second on.")
    coming = f"{whole(moved['new'])} new, {whole(moved['returned'])} came back, {whole(moved['lapsed'])} lapsed."
    more = [*_refit_told(story), *_flows_beyond_chance(story), _sizes_told(story), coming]
    if moved["unmeasured"]:
        said = "Who changed segment is not known, as no model sees both months: their features differ."
        return Answer(said, more)
    chance = next((row for row in story["chance"] if row["measure"] == "moved"), None)
    both, told = moved["moved"] + moved["stayed"], chance_in_words(story["chance"])
    seen = f"{whole(moved['moved'])} of {whole(both)} customers changed segment"
    beside = chance["beside_chance"] if chance is not None and chance["reason"] is None else None
    opening = {"above": "More than chance: ", "within": "In all no more than chance: ", "below": "Less than chance: "}
    return Answer(f"{opening.get(str(beside), '')}{seen}, where {told}.", more)


def _flows_beyond_chance(story: Story) -> list[str]:
    """The flows between segments that chance does not explain: the two largest, each with what chance makes, and how
    many more there are."""
    names = {str(row["segment_id"]): str(row["name"]) for row in story["history"]}
    ranks = {str(row["segment_id"]): STANDING[row["role"]] for row in story["segments"] if row.get("role")}
    flows = [
        row
        for row in story["chance"]
        if row["measure"] == "transition" and row["beside_chance"] == "above" and row["from_state"] != row["to_state"]
    ]
    flows.sort(key=lambda row: (-row["observed_customers"], row["from_state"], row["to_state"]))
    told = [
        f"Beyond chance: {whole(row['observed_customers'])} {_way(row, ranks)} from {names.get(row['from_state'])} to "
        f"{names.get(row['to_state'], row['to_state'])}, where chance makes "
        f"{whole(row['chance_low'] * row['customers'])} to {whole(row['chance_high'] * row['customers'])}."
        for row in flows[:2]
    ]
    others = [
        f"{whole(row['observed_customers'])} from {names.get(row['from_state'])} to "
        f"{names.get(row['to_state'], row['to_state'])}"
        for row in flows[2:]
    ]
    return [*told, f"Beyond chance as well: {words.listed(others)}."] if others else told


def _way(flow: Row, ranks: Mapping[str, int]) -> str:
    """Which way a flow between two segments goes, where their roles tell. ranks : of a segment, high is good."""
    before, now = ranks.get(flow["from_state"]), ranks.get(flow["to_state"])
    if before is None or now is None or before == now:
        return "went"
    return "slipped" if now < before else "rose"


def _sizes_told(story: Story) -> str:
    """How the segments' shares changed, as one model sees both months, and whether that is more than chance."""
    changes = [row for row in story["segments"] if row["change"] is not None]
    if not changes:
        return "Shares cannot be compared with the month before: it lacks a feature of the model that serves now."
    most = max(changes, key=lambda row: abs(row["change"]))
    if abs(most["change"]) < 0.0005:
        return "No segment's share changed."
    shift = next((row for row in story["chance"] if row["measure"] == "base_shift"), None)
    largest = f"{most['name']}, {points(most['change'])} points to {percent(most['share'])}."
    said = f"Largest change of size: {largest}"
    if shift is None or shift["reason"] is not None:
        return said
    # of all sizes together, and of who was there in both months: no judgement on the one that is named
    if shift["beside_chance"] != "above":
        return f"All sizes together changed no more than chance explains; the largest change: {largest}"
    low, high = (whole(shift[end] * shift["customers"]) for end in ("chance_low", "chance_high"))
    return (
        f"{said} All sizes together changed beyond chance: at least {whole(shift['observed_customers'])} must have "
        f"moved for it, where chance makes {low} to {high}."
    )


def _refit_told(story: Story) -> list[str]:
    """That a new model began to serve, whose own step is nobody's movement."""
    champion, versions = story["champion"], story["versions"]
    if champion is None or champion["trained_month"] != story["month"] or len(versions) < 2:
        return []
    before = max((row for row in versions if row is not champion), key=lambda row: row["model_version"])
    earlier = month_name(add_months(story["month"], -1))
    told = f"A new model began: {champion['n_segments']} segments, {before['n_segments']} before. "
    if story["measured_by"] != champion["model_version"]:
        return [f"{told}Who moved is told by the model before, in both months; all else by the new one."]
    told += f"What is said here of {earlier} is by the new one too, so that only customers move"
    step = story["moved_by_refit"]
    if not step:
        return [f"{told}."]
    verb = words.agreeing(step, "stands", "stand")
    return [f"{told}: {words.counted(step)} who stayed {verb} in another segment than was published then."]


def _attention(story: Story) -> Answer:
    warned, stands_on = story["warned"], story["list_stands_on"]
    if not story["queue"]:
        learned = story["risk_model"] is not None and story["risk_model"]["refused"] is None
        who = "Nobody" if learned else "Not known yet"
        return Answer(f"{who}: {stands_on or 'no customer has a warning'}.")
    risk = story["at_risk"]
    said = f"{words.counted(warned['to_contact'])} on this month's contact list"
    if risk is not None and risk["of_list"] is not None:
        of_list, of_all = (f"{whole(risk[of])} {money_of(story)}".rstrip() for of in ("of_list", "of_all"))
        said += f", with {of_list} of next year's revenue at risk ({of_all} among all customers)"
    more = [f"Chosen {stands_on}."] if stands_on else []
    judged = story["contact_list"]
    more.append(_list_judged(judged, money_of(story)) if judged is not None else "No earlier list can be judged yet.")
    more += _risk_judged(story)
    more += _money_judged(story) if risk is not None else []
    return Answer(f"{said}.", more)


def _list_judged(judged: Row, money: str) -> str:
    """How many of those on earlier lists fell silent and, where it is known, what such customers of one list had spent
    in a year, beside as many chosen otherwise. A list was made as its month did, which may not be as this one does."""
    number, made = judged["months"], [("", "precision", "money_lost")]
    if judged["churn_risk_precision"] is not None:
        made.append(("by churn risk alone", "churn_risk_precision", "churn_risk_money_lost"))
    if judged.get("recency_precision") is not None:
        made.append(("by the longest silence", "recency_precision", "recency_money_lost"))
    made.append(("at random", "base_rate", "random_money_lost"))
    own, *others = (
        (
            who,
            percent(judged[silent]),
            "" if judged.get(lost) is None else f"{whole(judged[lost] / number)} {money}".rstrip(),
        )
        for who, silent, lost in made
    )
    each = ", each" if number > 1 else ","
    spent = f", who spent {own[2]} a year{' per list' if number > 1 else ''}" if own[2] else ""
    beside = "; ".join(f"{who} {share}" + (f" and {lost}" if lost else "") for who, share, lost in others)
    return (
        f"Of {words.counted(number, 'earlier list')}{each} made by the rule of its month, {own[1]} fell silent{spent}. "
        f"As many customers chosen otherwise: {beside}."
    )


def _money_judged(story: Story) -> list[str]:
    """How far the spend that was expected of all customers was off, in the latest month that can be judged."""
    judged = _latest_of_money(story)
    if judged is None:
        return ["What is expected of spend cannot be judged yet."]
    return [f"{words.capitalised(_money_off(judged))}."]


def _latest_of_money(story: Story) -> Row | None:
    """The farthest look ahead that can be judged, of the latest month."""
    known = [row for row in story["value_quality"] if row["bias"] is not None]
    return max(known, key=lambda row: (row["horizon_months"], row["month"]), default=None)


def _money_off(judged: Row) -> str:
    """the spend expected of the 3 months after March 1998 came out 14 % too high"""
    off = judged["bias"]
    how = f"{percent(abs(off))} too {'high' if off > 0 else 'low'}" if abs(off) >= 0.01 else "right to 1 %"
    return f"the spend expected of the {judged['horizon_months']} months after {month_name(judged['month'])} was {how}"


def _risk_judged(story: Story) -> list[str]:
    """By how much the churn risk was off for all customers together, in the latest month whose silence is known, where
    that is much: what is at risk is then as far off."""
    known = [row for row in story["risk_quality"] if row["inputs"] == "all" and row["mean_probability"]]
    if not known:
        return []
    latest = max(known, key=lambda row: row["month"])
    ratio = latest["base_rate"] / latest["mean_probability"]
    if 1 / RISK_OFF < ratio < RISK_OFF:
        return []
    way = "low" if ratio > 1 else "high"
    return [
        f"Of {month_name(latest['month'])} {ratio:.1f} times as many fell silent as foretold: take it for too {way}."
    ]


def _actions(story: Story) -> Answer:
    of_all = [row for row in story["actions"] if row["segment_id"] is None]
    with_list = _of_list(story)
    if not of_all and not with_list:
        return Answer(
            "No action is configured: give each segment one, with an owner, under actions in the configuration."
        )
    told = [
        f"{(row['what'] or words.capitalised(spoken(row['action_id']))).rstrip('.')} ({row['owner']}, for "
        f"{whole(row['customers'])})."
        for row in of_all
    ]
    return Answer(" ".join([*with_list, *told]))


def _of_list(story: Story) -> list[str]:
    """What is done with everybody on the contact list, where the user's file says it and somebody is on it."""
    doing = story["list_action"]
    if doing is None or not story["queue"]:
        return []
    return [
        f"{doing.what.rstrip('.')} ({doing.owner}, by {day_name(doing.due)}, for the "
        f"{whole(story['warned']['to_contact'])} on the contact list)."
    ]


def _trust(story: Story) -> Answer:
    judged = next(iter(story["suitability"]), None)
    if judged is not None and judged["verdict"] not in USABLE:
        reason = judged["reason"].partition(". ")[0].rstrip(".")
        said = reason if reason.startswith("No ") else f"No. {reason}"
        return Answer(f"{said}.", _checks_failed(story), "red")
    cautions = _cautions(story)
    if cautions:
        more = [f"{words.capitalised(one)}." for one in cautions[1:]]
        return Answer(f"With care: {cautions[0]}.", [*more, *_checks_failed(story)], "amber")
    return Answer("Yes: nothing speaks against these segments.", _checks_failed(story), "green")


def _checks_failed(story: Story) -> list[str]:
    judged = [row["passed"] for row in _validated(story) if row["passed"] is not None]
    failed = len(judged) - sum(judged)
    told = (
        "none breaks its limit"
        if not failed
        else f"{failed} {'breaks its limit' if failed == 1 else 'break their limits'}"
    )
    return [f"Of the {len(judged)} figures that judge the model {told}."] if judged else []


def _validated(story: Story) -> list[Row]:
    """The figures of the newest model that was judged; in the month of a refit there are some of the one before."""
    rows = story["model_validation"]
    newest = max((row["model_version"] for row in rows), default=None)
    return [row for row in rows if row["model_version"] == newest]


def _cautions(story: Story) -> list[str]:
    """What speaks for care, the heaviest first: drift, validation, what is left out of the source, the verdict."""
    found = []
    judged = next(iter(story["suitability"]), None)
    if judged is not None and judged["verdict"] == "too_few_customers":
        found.append("the customers are few, so take these segments for a first impression")
    champion, fired = story["champion"], [row for row in story["alerts"] if row["fired"]]
    if fired and champion is not None and months_between(champion["trained_month"], story["month"]):
        named = words.listed(list(dict.fromkeys(spoken(row["metric"]) for row in fired)))
        found.append(f"the customers have changed since the segments were drawn ({named})")
    if _refit_told(story):
        found.append("the segments are new this month, and what the months to come will show of them is not known yet")
    broken = dict.fromkeys(row["metric"] for row in _validated(story) if row["passed"] is False)
    found += [BROKEN.get(metric, f"{spoken(metric)} breaks its limit") for metric in broken]
    money = _latest_of_money(story) if story["at_risk"] is not None else None
    if money is not None and abs(money["bias"]) >= MONEY_OFF:
        found.append(_money_off(money))
    found += [
        told.rstrip(".")
        for reason, share, told in _left_out(story["account"])
        if share >= LEFT_OUT_MUCH and reason not in LEFT_OUT_ON_PURPOSE
    ]
    if judged is None:
        found.append("nobody has judged yet whether such segments suit these customers")
    elif judged["verdict"] == "k_means_would_serve":
        found.append("a simpler method (k-means) would draw the same segments")
    return list(dict.fromkeys(found))


def left_out_of_window(account: Sequence[Part]) -> list[str]:
    """What share of the window's lines and money each reason leaves out: 25 % of the order lines and 24 % of the money
    (158,684) have no customer."""
    return [told for _, _, told in _left_out(account)]


def _left_out(account: Sequence[Part]) -> list[tuple[str, float, str]]:
    """Likewise, with the reason and the larger of the two shares."""
    window = [one for one in account if one.reason not in OUTSIDE]
    lines, money = sum(one.lines for one in window), sum(one.money for one in window if one.money is not None)
    found = []
    for one in window:
        if one.reason == USED:
            continue
        unit, share = "rows" if one.orders is None else "order lines", one.lines / lines
        said = f"{words.percent(share)} of the {unit}"
        if one.money is not None and 0 < one.money < money:
            share = max(share, float(one.money / money))
            said += f" and {words.percent(float(one.money / money))} of the money ({one.money:,.0f})"
        found.append((one.reason, share, f"{said} {REASONS[one.reason]}."))
    return found
