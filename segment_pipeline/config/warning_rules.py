"""The early warnings: what each rule says of a customer, and the keys of the user's file that set it.

A rule is declared here and nowhere else; its SQL, the order of the queue, the back-test and the documentation follow.
One with a threshold of its own adds the key to `WarningSettings`. Not here: the columns that a rule speaks of
(early_warnings/rules_store.py), and whether the rules are right (early_warnings/backtest.py).

All of them speak of roles (engaged, casual, at_risk, dormant), not of segments: the engaged probability is the sum over
all engaged segments. Movement is measured under one champion, so that no refit looks like it.
"""

from dataclasses import dataclass

from pydantic import model_validator

from segment_pipeline.config.values import Name, Settings, refusal, setting
from segment_pipeline.config.yaml_text import show


class ContactAction(Settings):
    """What is done with everybody on the contact list, whatever the action matrix says of them."""

    what: Name = setting(..., "", "What is done, in a sentence.")
    owner: Name = setting(..., "", "Who sees to it.")
    channel: Name = setting(..., "", "How the customer is reached.")
    within_days: int = setting(..., "days", "How long after the month's end it is to be done.", ge=1, le=730)


class WarningSettings(Settings):
    """When a customer is worth a warning, and how many the team can look after."""

    declining_engagement: float = setting(
        0.15,
        "probability, 0..1",
        "Warn when the probability of engaged segments fell by more than this since the month before.",
        gt=0,
        lt=1,
    )
    mixed_signal: float = setting(
        0.30, "probability, 0..0.5", "Warn when engaged and at-risk-or-dormant are both above this.", gt=0, lt=0.5
    )
    mixed_signal_severe: float = setting(
        0.40, "probability, 0..0.5", "The same, severe: both above this.", gt=0, lt=0.5
    )
    likely_to_decline: float = setting(
        0.30,
        "probability, 0..1",
        "Warn when a segment of a lower role or lapsing is more likely next month than this, unless the customer has "
        "just come up from one; model.memory alone tells.",
        gt=0,
        lt=1,
    )
    horizon_days: int = setting(
        90, "days", "A customer is silent who has no order for so long after the month's end.", ge=1, le=730
    )
    monthly_budget: int | None = setting(
        None,
        "customers",
        "Places on the contact list, as many as the team can contact a month; without it as many as are warned of.",
        ge=1,
    )
    action: ContactAction | None = setting(
        None, "", "What is done with those on the contact list; without it the action of each customer alone."
    )

    @model_validator(mode="after")
    def _severe_is_more_than_mixed(self) -> "WarningSettings":
        if self.mixed_signal_severe <= self.mixed_signal:
            raise refusal(
                ("mixed_signal_severe",),
                show(self.mixed_signal_severe),
                f"a number above mixed_signal ({show(self.mixed_signal)})",
            )
        return self

    @property
    def engaged_above(self) -> float:
        """Probability, 0..1, above which a customer counts as engaged, whom the back-test may judge: mixed signals ask
        for as much, so that nobody is warned of them who is then not judged."""
        return self.mixed_signal


@dataclass(frozen=True)
class WarningRule:
    """A named reason to worry about a customer.

    says : what the rule found, to stand after "says that". key : the threshold, a field of `WarningSettings`; None for
    a rule without one. condition, evidence : SQL over one customer, true of whom it names, and what was found in words.

    The SQL may speak of these columns. Probabilities this month, under the month's own champion, NULL where no segment
    has the role: engaged_probability and dormant_probability (at_risk or dormant). Next month: decline_probability, of
    a segment with a lower role than that of the likeliest one now, or of lapsing, and lapse_probability, of that alone;
    NULL where the champion has no memory. Movement since the month before, under the champion of then, NULL for who was
    not there: engaged_change, and of the likeliest segment then and now from_name and to_name, from_standing and
    to_standing (the higher the role the more, NULL without a role). And threshold, the value of `key`.
    """

    name: str
    says: str
    key: str | None
    condition: str
    evidence: str


def in_points(expression: str) -> str:
    """A probability in whole hundredths, as SQL text."""
    return f"CAST(CAST(round(100 * ({expression})) AS INTEGER) AS VARCHAR)"


def _mixed_signal(name: str) -> WarningRule:
    return WarningRule(
        name,
        says="engaged, and at risk or dormant, are both more likely than this",
        key=name,
        # not the lesser of the two, which of one that is not known would be the other
        condition="engaged_probability > threshold AND dormant_probability > threshold",
        evidence=f"'engaged ' || {in_points('engaged_probability')} || ' %, at risk or dormant ' "
        f"|| {in_points('dormant_probability')} || ' %'",
    )


WARNING_RULES = (
    _mixed_signal("mixed_signal_severe"),
    WarningRule(
        "declining_engagement",
        says="the probability of engaged segments fell by more than this since last month, both under one champion",
        key="declining_engagement",
        condition="engaged_change < -threshold",
        evidence=f"'engaged ' || {in_points('-engaged_change')} || ' points less likely than last month'",
    ),
    WarningRule(
        "segment_downgrade",
        says="the likeliest segment now has a lower role (engaged, casual, at risk, dormant)",
        key=None,
        condition="to_standing < from_standing",
        evidence="'from ' || from_name || ' to ' || to_name",
    ),
    _mixed_signal("mixed_signal"),
    WarningRule(
        "likely_to_decline",
        says="a lower role, or lapsing, is more likely next month than this (with `model.memory`), and the customer "
        "has not just come up from a lower one",
        key="likely_to_decline",
        # of who has just come up the model doubts whether the customer has come up at all
        condition="decline_probability > threshold AND coalesce(to_standing <= from_standing, true)",
        evidence="'next month ' || CASE WHEN decline_probability - lapse_probability < 0.005 THEN '' "
        f"ELSE 'a lower role ' || {in_points('decline_probability - lapse_probability')} || ' %, ' END "
        f"|| 'lapsed ' || {in_points('lapse_probability')} || ' %'",
    ),
)
"""Every rule, the most urgent first: that counts where churn risk does not tell customers apart."""
