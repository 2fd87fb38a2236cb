"""Whose warnings decide whom to contact: each rule by what became of its own, and how that is told.

Contact is for those through whose silence most would be lost, so the list is ranked by revenue at risk, or by churn
risk where nobody knows what a customer is worth, and a warning has to earn its place before it. Here: which rules have,
and why the others have not. Not here: the back-test that they are judged by (backtest.py), and the list itself
(rules_store.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from segment_pipeline.early_warnings.backtest import WHOLE, BacktestRow
from segment_pipeline.words import counted, listed, percent


@dataclass(frozen=True)
class Standing:
    """Whether a rule (or, of WHOLE, any of them) takes part in a month's contact list; sentence : why, with figures.
    Of WHOLE also what is done with those on it, by whom, how and until when; None where the file does not say."""

    warning: str
    takes_part: bool
    sentence: str
    what: str | None = None
    owner: str | None = None
    channel: str | None = None
    due: date | None = None


def standings(
    rules: Sequence[str], judged: Mapping[str, BacktestRow], *, ranked: bool, by_money: bool = False
) -> list[Standing]:
    """The standing of every rule, and last that of the list.

    judged : what is known of a rule's warnings among all customers, all observed months together. ranked : whether the
    month has a churn risk. by_money : whether it also has the value of customers, so that revenue at risk ranks.
    """
    found = [_standing(rule, judged.get(rule), ranked=ranked) for rule in rules]
    proven = [standing.warning for standing in found if standing.takes_part]
    ranking = None if not ranked else "revenue at risk" if by_money else "churn risk"
    return [*found, Standing(WHOLE, bool(proven), _told(proven, ranking))]


def _standing(rule: str, row: BacktestRow | None, *, ranked: bool) -> Standing:
    """A rule takes part while the lower bound of its precision is above that of a random choice, and as many customers
    of the highest churn risk would not have been right more often: or the list would be worse for it. What has not been
    measured yet is not in its favour where there is a churn risk to go by."""
    if row is not None and row.months and not row.alerts:
        return Standing(rule, False, f"In the {counted(row.months, 'month')} that are judged it has warned of nobody.")
    if row is None or row.precision is None or row.precision_low is None or row.base_rate is None:
        return Standing(rule, False, "None of its warnings has been judged yet.")
    told = (
        f"Of {row.alerts:,} warnings {percent(row.precision, 1)} came true (95 % interval: "
        f"{percent(row.precision_low, 1)} or more), of as many customers at random {percent(row.base_rate, 1)}"
    )
    if row.precision < row.base_rate:
        return Standing(rule, False, f"{told}: no better than chance.")
    if row.precision_low <= row.base_rate:
        return Standing(rule, False, f"{told}: that may be chance.")
    if row.churn_risk_precision is None:
        unknown = ", of as many of the highest churn risk it is not known yet" if ranked else ""
        return Standing(rule, not ranked, f"{told}{unknown}.")
    told += f", of as many of the highest churn risk {percent(row.churn_risk_precision, 1)}"
    if row.precision < row.churn_risk_precision:
        return Standing(rule, False, f"{told}: better than chance, but the list is better without it.")
    return Standing(rule, True, f"{told}.")


def _told(proven: Sequence[str], ranking: str | None) -> str:
    """What the list stands on, to follow the number of customers to contact. ranking : by what, if by anything."""
    named = listed([rule.replace("_", " ") for rule in proven])
    if proven and ranking:
        return f"first those of whom {named} warns, ranked by {ranking}"
    if proven:
        return f"those of whom {named} warns; there is no churn risk yet"
    if ranking:
        return f"by {ranking} alone: no warning has proven to find more"
    return "there is no churn risk yet, and no warning has proven to be worth a call"
