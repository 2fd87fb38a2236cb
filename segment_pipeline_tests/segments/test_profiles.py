"""From figures to words: total rules, unique names, sentences with figures."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.config.source import Feature
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.naming import (
    assign_roles,
    calls_regular,
    mostly_once,
    name_segments,
    shown_standing,
    speaks_of,
    told_apart,
)
from segment_pipeline.segments.profiles import FeatureFigure, narrative
from segment_pipeline.words import deed, kind_of

NAMES = ("days_since_last_order", "orders", "average_order_value")
ROLES = {"engaged", "casual", "at_risk", "dormant"}


@pytest.mark.parametrize(
    ("silence", "orders", "role"),
    [
        (-1.3, 0.9, "engaged"),
        (-0.4, 0.4, "engaged"),
        (0.9, -0.45, "at_risk"),
        (0.6, -1.0, "casual"),
        (0.0, 0.0, "casual"),
        (-0.5, -0.3, "casual"),
        (1.3, -0.8, "dormant"),
        (1.8, -1.5, "dormant"),
    ],
)
def test_roles_follow_silence_and_frequency(silence: float, orders: float, role: str) -> None:
    assert assign_roles(np.array([silence]), np.array([orders])) == [role]


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8))
def test_every_segment_has_exactly_one_role_whatever_the_others_are(pairs: list[tuple[float, float]]) -> None:
    silence, orders = np.array(pairs).T
    roles = assign_roles(silence, orders)
    assert set(roles) <= ROLES
    assert roles == [assign_roles(silence[i : i + 1], orders[i : i + 1])[0] for i in range(len(pairs))]


def test_without_recency_or_frequency_there_are_no_roles() -> None:
    assert assign_roles(None, np.array([1.0, 2.0])) == [None, None]
    assert assign_roles(np.array([1.0, 2.0]), None) == [None, None]


def test_a_name_says_what_is_most_notable() -> None:
    means = np.array([[-0.2, 0.6, 0.5], [1.4, -1.2, 0.0], [0.1, 0.0, -0.1]])
    assert name_segments(means, NAMES, [None] * 3) == [
        "Frequent, big baskets",
        "Long silent, very infrequent",
        "Average customers",
    ]


@given(
    st.lists(st.lists(st.floats(-3, 3), min_size=3, max_size=3), min_size=1, max_size=8),
    st.lists(st.sampled_from(["Frequent, recent", "average customers", "Quiet"]), max_size=3),
)
def test_names_are_unique_never_taken_and_never_empty(means: list[list[float]], taken: list[str]) -> None:
    names = name_segments(np.array(means), NAMES, assign_roles(np.array(means)[:, 0], np.array(means)[:, 1]), taken)
    folded = [name.casefold() for name in names]
    assert len(set(folded)) == len(means)
    assert not set(folded) & {name.casefold() for name in taken}
    assert all(name.strip() for name in names)


@given(
    st.lists(st.sampled_from(["Recent", "recent", "Recent 2", "Quiet", "VIP"]), min_size=1, max_size=8),
    st.sets(st.integers(0, 7)),
)
def test_no_two_segments_of_a_month_have_one_name_whatever_a_user_calls_some(names: list[str], own: set[int]) -> None:
    """Of the user's own no two are alike: the configuration sees to that."""
    fixed = [k for k in sorted(own) if k < len(names)]
    fixed = [k for i, k in enumerate(fixed) if names[k].casefold() not in {names[j].casefold() for j in fixed[:i]}]
    told = told_apart(names, fixed)
    assert len({name.casefold() for name in told}) == len(names)
    assert [told[k] for k in fixed] == [names[k] for k in fixed]


@given(st.integers(0, 10_000), st.sampled_from(["none", "log1p"]))
def test_a_name_says_high_where_the_mean_beside_it_and_most_customers_are_high(seed: int, transform: str) -> None:
    """A few very rich pull a mean up and hardly the mean of logs: by that a segment was very low beside a high mean.
    And where they pull it above all customers' mean, most of the segment are below: it is called neither."""
    random = np.random.default_rng(seed)
    X = random.lognormal(10, random.uniform(0.2, 1.5, 2), (400, 2)).round(2)
    X[:20, 0] *= 40
    features = [{"name": name, "transform": transform, "valid": {"min": 0}} for name in ("income", "b")]
    space = FeatureSpace.fit([Feature.model_validate(one) for one in features], X)
    R = random.dirichlet([0.3, 0.3, 0.3], 400)
    labels = R.argmax(axis=1)
    standing = shown_standing(space, X, R)
    for k in np.unique(labels):
        ways = {name: np.sign(of(X[labels == k], axis=0) - X.mean(axis=0)) for name, of in STATISTICS.items()}
        agree = ways["mean"] == ways["median"]
        assert (np.sign(standing[k]) == np.where(agree, ways["mean"], 0)).all()


STATISTICS = {"mean": np.mean, "median": np.median}


def test_nobody_is_called_a_regular_where_most_have_ordered_once() -> None:
    orders = np.array([1, 1, 1, 9, 1, 2, 2, 3, 1, 1, np.nan])
    R = np.eye(3)[[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2]]
    assert mostly_once(orders, R) == [True, False, True]
    assert mostly_once(orders / 4, R) == mostly_once(None, R) == [False] * 3  # of a rate nobody can say once
    roles = ["at_risk", "at_risk", "engaged"]
    names = name_segments(np.zeros((3, 1)), ["orders"], roles, ordered_once=mostly_once(orders, R))
    assert names == ["Slipping one-order customers", "Slipping regulars", "Recent one-order customers"]
    assert name_segments(np.zeros((1, 1)), ["orders"], ["casual"], ordered_once=[True]) == ["One-order customers"]
    assert [calls_regular(f"{name}, big baskets") for name in names] == [False, True, False]
    assert not calls_regular("Occasional customers")


def test_a_role_names_a_segment_with_what_it_does_not_say_itself() -> None:
    means = np.array([[-1.2, 0.6, 0.5], [1.4, -1.2, 0.0], [0.0, -0.4, 0.1], [0.1, -0.5, 0.0]])
    assert name_segments(means, NAMES, ["engaged", "dormant", "casual", "casual"], (), NAMES[:2]) == [
        "Loyal regulars, big baskets",
        "Sleeping customers",
        "Occasional customers",
        "Occasional customers, infrequent",
    ]


def test_casual_customers_who_order_far_less_often_than_all_are_rare_and_not_occasional() -> None:
    means = np.array([[0.0, -0.5, 0.2], [0.6, -1.4, -0.9], [1.4, -1.4, 0.0]])
    names = name_segments(means, NAMES, ["casual", "casual", "dormant"], (), NAMES[:2], frequency=means[:, 1])
    assert names == ["Occasional customers", "Rare customers, small baskets", "Sleeping customers"]


def test_of_namesakes_each_is_told_by_what_it_has_of_its_own_even_where_that_is_less() -> None:
    means = np.array([[1.4, -0.9, 0.2], [1.3, -1.4, -1.2]])
    apart = ["Sleeping customers, big baskets", "Sleeping customers, very small baskets"]
    assert name_segments(means, NAMES, ["dormant"] * 2, (), NAMES[:2]) == apart
    assert name_segments(means[:1], NAMES, ["dormant"], (), NAMES[:2]) == ["Sleeping customers"]
    # big beside very big would tell nobody which is which
    means[1, 2] = 1.2
    alike = ["Sleeping customers", "Sleeping customers, very big baskets"]
    assert name_segments(means, NAMES, ["dormant"] * 2, (), NAMES[:2]) == alike


def test_features_of_the_users_own_are_named_too() -> None:
    assert name_segments(np.array([[2.0, -0.5]]), ("support_tickets", 'app "opens" 🛒'), [None]) == [
        'Very high support tickets, low app "opens" 🛒'
    ]


@pytest.mark.parametrize(
    ("declared", "far_below", "above", "far_above"),
    [
        ({"name": "organic_ratio", "spend_ratio": "ORGANIC"}, "hardly any organic", "a lot of organic", "a great deal"),
        ({"name": "baby_food_share", "spend_share": "BABY"}, "hardly any baby food", "a lot of baby food", "a great"),
        (
            {"name": "night_share", "unit": "share", "of_lines": "avg(1)"},
            "very small night",
            "large night share",
            "very",
        ),
        ({"name": "returned", "unit": "share"}, "very small returned share", "large returned share", "very large"),
        ({"name": "days_since_last_login"}, "last login very recently", "last login long ago", "last login very long"),
        (
            {"name": "big_lines", "of_lines": "count(*) FILTER (WHERE amount > 9)"},
            "very few big lines",
            "many big lines",
            "very many",
        ),
        ({"name": "visits", "of_events": {"feed": "web", "value": "count"}}, "very few visits", "many visits", "very"),
        ({"name": "income", "unit": "EUR"}, "very low income", "high income", "very high income"),
        ({"name": "return_ratio", "of_lines": "avg(1)"}, "very low return ratio", "high return ratio", "very high"),
        ({"name": "orders"}, "very infrequent", "frequent", "very frequent"),
    ],
)
def test_every_kind_of_feature_has_words_of_its_own(declared, far_below, above, far_above) -> None:
    """A category is bought a lot or hardly; a silence is long ago; a count is of many or few."""
    feature = Feature.model_validate(declared)
    means = np.array([[-1.5], [0.5], [1.5]])
    kinds = {feature.name: kind_of(feature)}
    names = name_segments(means, [feature.name], ["casual"] * 3, kinds=kinds)
    said = [name.removeprefix("Occasional customers, ") for name in names]
    assert said[0].startswith(far_below)
    assert said[1] == above
    assert said[2].startswith(far_above)
    assert all(speaks_of(name, feature.name) for name in names)
    assert not any(speaks_of(name, "something_else") for name in names)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.sampled_from([None, "engaged"]))
def test_a_name_speaks_of_the_features_that_it_was_given_for(means: list[float], role: str | None) -> None:
    features = (*NAMES, 'app "opens" (.*) 🛒')
    first, again = name_segments(np.array([means, means]), features, [role, role], (), NAMES[:2])
    notable = [feature for feature, mean in zip(features, means, strict=True) if abs(mean) >= 0.3]
    for name in (first, again):
        spoken_of = [feature for feature in features if speaks_of(name, feature)]
        assert set(spoken_of) <= set(notable)
        beside_the_role = [feature for feature in notable if role is None or feature not in NAMES[:2]]
        assert len(spoken_of) >= min(2 if role is None else 1, len(beside_the_role))


def test_a_name_speaks_of_no_feature_whose_words_are_only_a_part_of_others() -> None:
    assert not speaks_of("Infrequent, big baskets", "new")
    assert speaks_of("Very few products, quiet 2", "products_per_order")
    assert not speaks_of("Very low store visits", "visits")


def test_a_narrative_tells_who_they_are_and_why_they_are_worth_what_they_are() -> None:
    text = narrative(
        "Loyal regulars",
        "engaged",
        1234,
        0.31,
        0.62,
        [FeatureFigure("orders", "orders", 24.0, 15.0), FeatureFigure("average_order_value", "USD", 30.0, 29.5)],
    )
    assert text == (
        "Loyal regulars, engaged: 1,234 customers, 31 % of all and 62 % of what was spent; on average one of them "
        "placed 24 orders (all customers: 15). They spend 100 % more than the average customer, mostly because they "
        "order 60 % more often."
    )


@given(st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.floats(2, 20), st.floats(2, 20))
def test_what_they_spend_is_put_down_to_the_larger_of_its_two_causes(
    share: float, revenue: float, own: float, all_: float
) -> None:
    text = narrative("A", None, 10, share, revenue, [FeatureFigure("orders", "orders", own, all_)])
    if abs(revenue / share - 1) < 0.1:
        assert "They spend" not in text
        return
    ratio = r"(?:about as (?:often|much)|(?:over )?(\d+) % (more|less))"

    def told(before: str) -> float | None:
        found = re.search(before + ratio, text)
        return found and 1 + {None: 0, "more": 1, "less": -1}[found[2]] * int(found[1] or 0) / 100

    orders, worth = own / all_, revenue / share / (own / all_)
    spend = told("They spend ")
    assert spend == pytest.approx(revenue / share, abs=0.031)
    often, dear = told("mostly because they order "), told("mostly because their orders are worth ")
    if abs(math.log(orders)) > abs(math.log(worth)):
        assert (often, dear) == (pytest.approx(orders, abs=0.031), None)
    else:
        assert (often, dear) == (None, pytest.approx(worth, abs=0.031))


def test_a_narrative_of_a_shop_without_money_tells_portraits_after_what_makes_the_segment() -> None:
    figures = [FeatureFigure("orders", "orders", 24.2, 11.8)]
    portraits = [
        FeatureFigure("total_spend", "EUR", 812.0, 240.0),
        FeatureFigure("margin", "", 0.21, 0.2),
        FeatureFigure("organic_share", "", 0.4, 0.2),
    ]
    text = narrative("Frequent", "engaged", 10, 0.5, None, figures, portraits)
    assert text.endswith(
        "on average one of them placed 24.2 orders (all customers: 11.8). Beside that, one spent 812 EUR (all "
        "customers: 240) and has an organic share of 40 % (20 %)."
    )
    like_all = narrative("Average customers", None, 10, 0.5, None, [], portraits[1:2])
    assert like_all.endswith("on average they behave like all customers.")


def test_a_narrative_of_a_segment_like_everybody_says_so() -> None:
    text = narrative("Average customers", None, 10, 0.5, 0.5, [FeatureFigure("orders", "", 0.0, 0.0)])
    assert text.endswith("on average they behave like all customers.")


def test_a_feature_of_the_users_own_is_told_by_its_name_and_a_share_in_per_cent() -> None:
    figures = [FeatureFigure("night_share", "share", 0.3612, 0.2), FeatureFigure("visits", "visits", 4.0, 1.5)]
    text = narrative("Night owls", None, 10, 0.5, None, figures)
    assert "has 4 visits (all customers: 1.5) and has a night share of 36 % (20 %)" in text


@pytest.mark.parametrize(
    ("feature", "value", "unit", "did"),
    [
        ("night_share", 0.3612, "share", "has a night share of 36 %"),
        ("organic_share", 0.5, "", "has an organic share of 50 %"),
        ("returned", 0.05, "share", "has a returned share of 5 %"),
        ("market_share", 36.0, "%", "has market share 36 %"),
        ("visits", 4.0, "visits", "has 4 visits"),
        ("support_tickets", 4.0, "support tickets", "has 4 support tickets"),
        ("days_since_last_login", 12.4, "days", "had its last login 12.4 days ago"),
        ("days_since_last_login", 1.0, "", "had its last login 1 day ago"),
        ("income", 812.0, "EUR", "has income 812 EUR"),
        ("orders", 4.0, "orders", "placed 4 orders"),
    ],
)
def test_what_a_customer_did_is_told_as_what_the_feature_is(feature, value, unit, did) -> None:
    assert deed(feature, value, unit) == did


def test_a_feature_of_a_category_is_told_by_the_share_of_the_spend_that_is_on_it() -> None:
    figures = [FeatureFigure("organic_ratio", "share", 0.5, 0.12, "organic"), FeatureFigure("orders", "", 4.0, 4.0)]
    text = narrative("A lot of organic", None, 10, 0.5, None, figures)
    assert text.endswith("50 % of all; they together spent 50 % on organic (all customers: 12 %).")


def test_a_category_is_told_once_and_as_what_all_of_them_spent() -> None:
    """A share that stands as a portrait beside its ratio has the figure of the ratio."""
    figures = [
        FeatureFigure("baby_ratio", "share", 0.005, 0.1, "baby"),
        FeatureFigure("wine_ratio", "share", 0.4, 0.1, "wine"),
        FeatureFigure("orders", "orders", 4.0, 2.0),
    ]
    portraits = [
        FeatureFigure("baby_share", "share", 0.005, 0.1, "baby"),
        FeatureFigure("pets_share", "share", 0.3, 0.1, "pets"),
        FeatureFigure("visits", "visits", 9.0, 3.0),
    ]
    text = narrative("Wine", None, 10, 0.5, None, figures, portraits)
    assert text.endswith(
        "on average one of them placed 4 orders (all customers: 2); they together spent under 1 % on baby (10 %) and "
        "40 % on wine (10 %). Beside that, one has 9 visits (all customers: 3); they together spent 30 % on pets "
        "(10 %)."
    )
    assert narrative("Wine", None, 10, 0.5, None, figures[1:2], portraits[:1]).count(" on ") == 2
    same = [FeatureFigure("pets", "share", 0.3, 0.1, "pets"), FeatureFigure("pets_ratio", "share", 0.3, 0.1, "pets")]
    assert narrative("Pets", None, 10, 0.5, None, same).count("on pets") == 1
