"""The champion as SQL says what the champion as NumPy says, for any model, any customer and any name."""

from dataclasses import replace
from datetime import date

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.model import TierSettings
from segment_pipeline.database.quoting import identifier, literal, number
from segment_pipeline.mixture.candidates import Hurdle, Mixture
from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import BEFORE, LAPSED, MISSING, SEEN, Panel
from segment_pipeline.mixture.covariances import COVARIANCE_TYPES
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.mixture.search import search_mixtures
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.models.scoring import assignment_sql, membership_sql, prior_sql, tier_sql
from segment_pipeline.models.tables import PRIOR

TIERS = TierSettings()
HOSTILE = ['spend "per" order', "o'rders; DROP TABLE x --", "🛒 days", "z0", "peak", "select", "a%b{c}\\d", "x" * 300]


def random_model(seed: int, k: int, d: int, names: list[str] | None = None) -> SegmentModel:
    random = np.random.default_rng(seed)
    transforms = tuple(random.choice(["none", "log", "log1p", "logit"], size=d))
    roots = random.normal(size=(k, d, d)) * 0.6
    space = FeatureSpace(
        tuple(names or [f"feature_{j}" for j in range(d)]),
        transforms,
        tuple([0.01] * d),
        random.normal(size=d),
        np.exp(random.normal(size=d) * 0.5),
        np.full(d, 0.01),
    )
    mixture = Mixture(
        random.dirichlet(np.full(k, 2.0)),
        random.normal(size=(k, d)) * 2,
        roots @ np.swapaxes(roots, 1, 2) + np.eye(d) * 0.05,
    )
    segments = tuple(Segment(3 * i + 1, f'it\'s "{i}"; 🙂', None) for i in range(k))
    return SegmentModel(4, date(2023, 1, 1), space, mixture, segments, atypical_below=-8.0)


def random_customers(model: SegmentModel, seed: int, n: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    T = random.normal(size=(n, model.space.n_features)) * 2 * model.space.scale + model.space.center
    X = T.copy()
    for j, transform in enumerate(model.space.transforms):
        if transform == "log":
            X[:, j] = np.exp(np.clip(T[:, j], -30, 30))
        if transform == "log1p":
            X[:, j] = np.expm1(np.clip(T[:, j], 0, 30))
        if transform == "logit":
            X[:, j] = 1 / (1 + np.exp(-T[:, j]))
    return X


def score(model: SegmentModel, X: np.ndarray, make_sql, history: list[tuple] | None = None) -> list[dict]:
    """The rows of the query of the table `customers`. history : what each was the month before, and whether known."""
    with duckdb.connect() as connection:
        columns = ", ".join(f"{identifier(name)} DOUBLE" for name in model.space.names)
        connection.execute(f"CREATE TABLE customers (customer_id VARCHAR, was DOUBLE[], known BOOLEAN, {columns})")
        connection.executemany(
            f"INSERT INTO customers VALUES (?, ?, ?, {', '.join('?' for _ in model.space.names)})",
            [[f"{i:06d}", *(history[i] if history else (None, None)), *row] for i, row in enumerate(X.tolist())],
        )
        cursor = connection.execute(f"SELECT * FROM ({make_sql(model)}) ORDER BY customer_id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), d=st.integers(1, 6))
def test_sql_probabilities_equal_numpys(seed, k, d):
    model = random_model(seed, k, d)
    X = random_customers(model, seed + 1, 40)
    rows = score(model, X, lambda m: membership_sql(m, "customers"))
    probabilities = np.array([row["probabilities"] for row in rows])
    np.testing.assert_allclose(probabilities, model.responsibilities(X), atol=1e-9)
    np.testing.assert_allclose([row["log_likelihood"] for row in rows], model.log_likelihood(X), rtol=1e-9, atol=1e-9)
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-9


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_of_every_type_of_covariances_sql_gives_what_the_estimator_gives(covariance_type, remembers):
    model = random_model(5, 3, 4)
    X = random_customers(model, 6, 400)
    (found,) = search_mixtures(
        model.space.transform(X), [3], covariance_type=covariance_type, random_state=0, variance_floor=1e-3, n_jobs=1
    )
    memory = random_memory(5, 3) if remembers else None
    model = replace(model, mixture=found.model.mixture_, memory=memory)
    model = SegmentModel.from_json(model.to_json())
    known = np.random.default_rng(1).dirichlet(np.ones(4), len(X)) if remembers else None
    history = None if known is None else [(row.tolist(), True) for row in known]
    relation = (
        "customers" if memory is None else f"(SELECT *, {prior_sql(memory, 'was', 'known')} AS {PRIOR} FROM customers)"
    )
    rows = score(model, X, lambda m: membership_sql(m, relation), history)
    by_sql = np.array([row["probabilities"] for row in rows])
    if memory is None or known is None:
        np.testing.assert_allclose(by_sql, found.model.predict_proba(model.space.transform(X)), atol=1e-9)
        likelihood = found.model.score_samples(model.space.transform(X)) + model.space.log_jacobian
        np.testing.assert_allclose([row["log_likelihood"] for row in rows], likelihood, rtol=1e-9)
    else:
        expected = model.responsibilities(X, prior=memory.ahead(known)[:, :3])
        np.testing.assert_allclose(by_sql, expected, atol=1e-9)
    # squares of sums in which features that do not go together do not meet
    assert membership_sql(model, relation).count("* (z0 -") == 2 * 3 * (4 if covariance_type in ("full", "tied") else 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 6), d=st.integers(1, 4))
def test_every_column_of_an_assignment_follows_from_the_probabilities(seed, k, d):
    model = random_model(seed, k, d)
    X = random_customers(model, seed + 1, 30)
    R = model.responsibilities(X)
    for row, r in zip(score(model, X, lambda m: assignment_sql(m, "customers", TIERS)), R, strict=True):
        order = np.argsort(-r, kind="stable")
        assert row["segment_id"] == model.segment_ids[order[0]]
        assert row["second_segment_id"] == model.segment_ids[order[1]]
        assert row["max_probability"] == pytest.approx(r[order[0]], abs=1e-9)
        assert row["second_probability"] == pytest.approx(r[order[1]], abs=1e-9)
        assert row["segment_name"] == model.segments[order[0]].name
        entropy = -np.sum(r * np.log(np.maximum(r, 1e-300))) / np.log(k)
        assert row["entropy"] == pytest.approx(entropy, abs=1e-9)
        assert 0 <= row["entropy"] <= 1
        assert row["is_hybrid"] == (row["tier"] == "hybrid")
        assert row["is_atypical"] == (row["log_likelihood"] < model.atypical_below)
        assert row["segment_ids"] == list(model.segment_ids)
        assert row["model_version"] == 4


def lies_between(model: SegmentModel, X: np.ndarray, R: np.ndarray) -> list[tuple[float | None, bool]]:
    """Of each customer the place on the line from its likeliest segment's centre to the second's, and whether it is
    between: from the covariances as they are, without the code that makes the SQL."""
    mixture, found = model.mixture.moments, []
    for z, r in zip(model.space.transform(X), R, strict=True):
        a, b = np.argsort(-r, kind="stable")[:2]
        if mixture.hurdle is not None and mixture.hurdle.component in (a, b):
            found.append((None, False))
            continue
        precision = np.linalg.inv(mixture.covariances[a] + mixture.covariances[b])
        apart = mixture.means[b] - mixture.means[a]
        scale = apart @ precision @ apart
        place = (z - mixture.means[a]) @ precision @ apart / scale
        spread = [np.sqrt(apart @ precision @ mixture.covariances[k] @ precision @ apart) / scale for k in (a, b)]
        near, far = (max(TIERS.is_between, 1.645 * one) for one in spread)
        found.append((float(np.clip(place, 0, 1)), bool(near <= place <= 1 - far)))
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 6), d=st.integers(1, 4), of=st.sampled_from(["", "parts", "rule"]))
def test_sql_places_a_customer_on_the_line_between_its_two_segments_as_numpy_does(seed, k, d, of):
    model = random_model(seed, k, d)
    # tight groups, of which some leave room between them
    model = replace(model, mixture=replace(model.mixture, covariances=model.mixture.covariances / 20))
    X = random_customers(model, seed + 1, 40)
    if of == "parts" and k > 2:
        model = merged(model, ((0, 2), (1,), *((j,) for j in range(3, k))))
    if of == "rule":
        z = model.space.transform(X)[:, 0]
        rule = Hurdle(seed % k, 0, float(np.quantile(z, 0.4)) - 1e-6, 0.0, float(np.quantile(z, 0.6)) + 1e-6)
        model = replace(model, mixture=replace(model.mixture, hurdle=rule))
    R = model.responsibilities(X)
    rows = score(model, X, lambda m: assignment_sql(m, "customers", TIERS))
    for row, r, (place, between) in zip(rows, R, lies_between(model, X, R), strict=True):
        if np.sum(r == np.sort(r)[-2]) > 1:
            continue  # both of two others are as unlikely as the computer can say
        assert (row["position_to_second"] is None) == (place is None)
        assert row["position_to_second"] == (None if place is None else pytest.approx(place, abs=1e-7))
        assert row["is_between"] == between


def test_between_are_those_in_the_middle_and_of_a_segment_one_in_twenty_towards_each_other():
    plain = random_model(5, 3, 2)
    means = np.array([[0.0, 0.0], [3.6, 0.0], [0.0, 9.0]])
    covariances = np.stack([np.eye(2), np.diag([0.2, 2.0]), np.eye(2)])
    space = FeatureSpace(("a", "b"), ("none", "none"), (1.0, 1.0), np.zeros(2), np.ones(2), np.ones(2))
    mixture = replace(plain.mixture, weights=np.full(3, 1 / 3), means=means, covariances=covariances)
    model = replace(plain, space=space, mixture=mixture)
    random = np.random.default_rng(0)
    own = random.multivariate_normal(means[0], covariances[0], 4000)
    between = means[0] + 0.55 * (means[1] - means[0]) + 0.05 * random.normal(size=(200, 2))
    rows = score(model, np.vstack([own, between]), lambda m: assignment_sql(m, "customers", TIERS))
    flags = np.array([row["is_between"] for row in rows])
    assert 0.01 < flags[:4000].mean() < 2 * 0.055  # one in twenty towards each of two others
    assert flags[4000:].mean() > 0.95
    assert all(row["position_to_second"] == pytest.approx(0.5, abs=0.15) for row in rows[4000:])
    # whoever is between two segments so near to one another that each reaches into the other, is one of either's own
    near = replace(model, mixture=replace(mixture, means=means / 2))
    assert not any(row["is_between"] for row in score(near, own / 2, lambda m: assignment_sql(m, "customers", TIERS)))


def merged(model: SegmentModel, parts: tuple[tuple[int, ...], ...]) -> SegmentModel:
    return replace(model, mixture=replace(model.mixture, parts=parts), segments=model.segments[: len(parts)])


@pytest.mark.parametrize("parts", [((0, 3), (1,), (2, 4, 5)), ((0, 1, 2, 3, 4, 5),), ((5,), (0, 1, 2, 3, 4))])
def test_a_segment_of_several_components_is_their_sum_in_sql_as_in_numpy(parts):
    plain = random_model(31, 6, 3)
    model = merged(plain, parts)
    X = random_customers(plain, 32, 60)
    rows = score(model, X, lambda m: membership_sql(m, "customers"))
    probabilities = np.array([row["probabilities"] for row in rows])
    sums = np.column_stack([plain.responsibilities(X)[:, list(part)].sum(axis=1) for part in parts])
    np.testing.assert_allclose(probabilities, sums, atol=1e-9)
    np.testing.assert_allclose(probabilities, model.responsibilities(X), atol=1e-9)
    np.testing.assert_allclose([row["log_likelihood"] for row in rows], plain.log_likelihood(X), rtol=1e-9, atol=1e-9)


def test_a_rule_and_what_was_known_before_decide_over_segments_of_several_components():
    plain = random_model(33, 5, 2)
    X = random_customers(plain, 34, 60)
    z = plain.space.transform(X)[:, 1]
    rule = Hurdle(2, 1, float(np.quantile(z, 0.3)) - 1e-6, 0.0, float(np.quantile(z, 0.6)) + 1e-6)
    parts = ((0, 4), (1, 3), (2,))
    ruled = merged(replace(plain, mixture=replace(plain.mixture, hurdle=rule)), parts)
    rows = score(ruled, X, lambda m: membership_sql(m, "customers"))
    np.testing.assert_allclose([row["probabilities"] for row in rows], ruled.responsibilities(X), atol=1e-9)

    random = np.random.default_rng(35)
    transitions = random.dirichlet(np.ones(4), size=4)
    memory = Memory(random.dirichlet(np.ones(3)), random.dirichlet(np.ones(4)), transitions)
    model = replace(merged(plain, parts), memory=memory)
    before = random.dirichlet(np.ones(4), size=len(X))
    ahead = before @ transitions
    prior = ahead[:, :3] / ahead[:, :3].sum(axis=1, keepdims=True)
    relation = f"(SELECT *, {prior_sql(memory, 'was', 'known')} AS {PRIOR} FROM customers)"
    history = [(row, True) for row in before.tolist()]
    rows = score(model, X, lambda m: assignment_sql(m, relation, TIERS), history)
    R = model.responsibilities(X, prior=prior)
    np.testing.assert_allclose([row["probabilities"] for row in rows], R, atol=1e-9)
    np.testing.assert_allclose(
        [row["log_likelihood"] for row in rows], model.log_likelihood(X, prior=prior), rtol=1e-9, atol=1e-9
    )
    month_only = model.responsibilities(X)
    np.testing.assert_allclose([row["month_only_probabilities"] for row in rows], month_only, atol=1e-9)
    np.testing.assert_allclose([row["next_probabilities"] for row in rows], R @ transitions[:3, :3], atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 6), d=st.integers(1, 4))
def test_a_rule_decides_in_sql_as_it_does_in_numpy(seed, k, d):
    plain = random_model(seed, k, d)
    X = random_customers(plain, seed + 1, 40)
    z = plain.space.transform(X)[:, d - 1]
    rule = Hurdle(seed % k, d - 1, float(np.quantile(z, 0.3)) - 1e-6, 0.0, float(np.quantile(z, 0.7)) + 1e-6)
    model = replace(plain, mixture=replace(plain.mixture, hurdle=rule))
    rows = score(model, X, lambda m: membership_sql(m, "customers"))
    np.testing.assert_allclose([row["probabilities"] for row in rows], model.responsibilities(X), atol=1e-9)
    np.testing.assert_allclose([row["log_likelihood"] for row in rows], model.log_likelihood(X), rtol=1e-9, atol=1e-9)
    assert {row["probabilities"][rule.component] for row in rows} <= {0.0, 1.0}


def random_memory(seed: int, k: int) -> Memory:
    random = np.random.default_rng(seed)
    return Memory(
        random.dirichlet(np.ones(k)),
        random.dirichlet(np.ones(k + 1)),
        random.dirichlet(np.full(k + 1, 0.3), size=k + 1),
    )


def random_months(model: SegmentModel, seed: int, n: int, months: int) -> tuple[Panel, np.ndarray]:
    """Customers who come, lapse, return and are rejected as they please, from before the panel or within it; and the
    features of the panel's rows in original units."""
    random = np.random.default_rng(seed)
    states = random.choice([SEEN, SEEN, SEEN, LAPSED, MISSING], size=(n, months)).astype(np.int8)
    begins = random.integers(-2, months, n)
    states[np.arange(months) < begins[:, None]] = BEFORE
    states[np.arange(n)[begins >= 0], begins[begins >= 0]] = SEEN
    lapsed = (begins < 0) & (states[:, 0] == LAPSED)  # and back within the panel, or in no panel
    states[lapsed] = np.where(np.logical_and.accumulate(states[lapsed] == LAPSED, axis=1), BEFORE, states[lapsed])
    X = random_customers(model, seed + 1, int((states == SEEN).sum()))
    return Panel(states, model.space.transform(X), begins >= 0), X


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 6), d=st.integers(1, 4), months=st.integers(2, 5))
def test_month_after_month_sql_remembers_what_numpy_does(seed, k, d, months):
    model = replace(random_model(seed, k, d), memory=random_memory(seed, k))
    panel, X = random_months(model, seed, 30, months)
    numpys = MarkovMixture.of(model.mixture, model.memory)
    expected, likelihoods = numpys.filter(panel), numpys.score_months(panel)
    position = np.cumsum(panel.states == SEEN).reshape(panel.states.shape) - 1
    before: dict[int, list[float]] = {}
    for t in range(months):
        here = np.flatnonzero(panel.states[:, t] == SEEN)
        known = ~panel.is_new | (panel.states[:, t - 1] != BEFORE if t else False)
        prior = prior_sql(model.memory, "was", "known", begins=t == 0)
        rows = score(
            model,
            X[position[here, t]],
            lambda m, prior=prior: assignment_sql(m, f"(SELECT *, {prior} AS {PRIOR} FROM customers)", TIERS),
            [(before.get(customer), bool(known[customer])) for customer in here],
        )
        now = {}
        for customer, row in zip(here, rows, strict=True):
            probabilities = np.array(row["probabilities"])
            np.testing.assert_allclose(probabilities, expected[customer, t, :k], atol=1e-9)
            begins = t > 0 and panel.states[customer, t - 1] == BEFORE  # given that it is there
            log_prior = 0.0 if begins else np.log(ahead_of(model, expected, panel, customer, t)[:k].sum())
            assert row["log_likelihood"] == pytest.approx(
                likelihoods[customer, t] - log_prior + model.space.log_jacobian, abs=1e-9, rel=1e-9
            )
            ahead = expected[customer, t] @ model.memory.transitions
            np.testing.assert_allclose(row["next_probabilities"], ahead[:k], atol=1e-9)
            assert row["next_lapse_probability"] == pytest.approx(ahead[k], abs=1e-9)
            now[customer] = [*row["probabilities"], 0.0]
        month_only = np.array([row["month_only_probabilities"] for row in rows]).reshape(-1, k)
        np.testing.assert_allclose(month_only, model.responsibilities(X[position[here, t]]), atol=1e-9)
        for customer in np.flatnonzero(panel.states[:, t] == MISSING):
            now[customer] = ahead_of(model, expected, panel, customer, t).tolist()
        before = now


def ahead_of(model: SegmentModel, filtered: np.ndarray, panel: Panel, customer: int, t: int) -> np.ndarray:
    """(k + 1,) what is expected of a customer in a month, of those before it alone."""
    if t and panel.states[customer, t - 1] != BEFORE:
        return filtered[customer, t - 1] @ model.memory.transitions
    if panel.is_new[customer]:
        return np.append(model.memory.new, 0.0)
    return model.memory.transitions[-1] if t else model.memory.before


def test_a_rule_decides_for_a_customer_whom_memory_expected_elsewhere():
    plain = random_model(5, 3, 2)
    X = random_customers(plain, 6, 40)
    z = plain.space.transform(X)[:, 1]
    rule = Hurdle(1, 1, float(np.quantile(z, 0.3)), 0.0, float(np.quantile(z, 0.7)))
    memory = random_memory(5, 3)
    model = replace(plain, mixture=replace(plain.mixture, hurdle=rule), memory=memory)
    never = f"(SELECT *, [0.5, 0.0, 0.5, 0.0] AS {PRIOR} FROM customers)"
    rows = score(model, X, lambda m: membership_sql(m, never))
    applies = rule.holds(plain.space.transform(X))
    assert applies.any()
    np.testing.assert_array_equal([row["probabilities"][1] == 1.0 for row in rows], applies)
    for row in rows:
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-12)


def test_a_customer_far_from_everything_still_gets_probabilities_that_sum_to_one():
    model = random_model(3, 4, 2)
    model = SegmentModel(
        1,
        model.trained_month,
        FeatureSpace(("a", "b"), ("none", "none"), (1.0, 1.0), np.zeros(2), np.ones(2), np.ones(2)),
        model.mixture,
        model.segments,
        -8.0,
    )
    (row,) = score(model, np.array([[1e6, -1e6]]), lambda m: membership_sql(m, "customers"))
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-12)


def test_hostile_feature_and_segment_names_are_data():
    model = random_model(11, 3, len(HOSTILE), HOSTILE)
    X = random_customers(model, 12, 20)
    rows = score(model, X, lambda m: assignment_sql(m, "customers", TIERS))
    np.testing.assert_allclose([row["probabilities"] for row in rows], model.responsibilities(X), atol=1e-9)
    assert {row["segment_name"] for row in rows} <= {segment.name for segment in model.segments}


def tier_of(probabilities: list[float]) -> str:
    ranked = sorted(probabilities, reverse=True)
    first, second = number(ranked[0]), number(ranked[1])
    with duckdb.connect() as connection:
        sql = f"SELECT {tier_sql(TIERS)} FROM (SELECT {first} AS max_probability, {second} AS second_probability)"
        return connection.execute(sql).fetchone()[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda values: sum(values) > 0.1))
def test_every_probability_vector_is_in_exactly_one_tier_by_the_ordered_rule(values):
    p = sorted((value / sum(values) for value in values), reverse=True)
    if p[0] >= 0.80:
        expected = "dominant"
    elif p[1] >= 0.30 and p[0] + p[1] >= 0.75:
        expected = "hybrid"
    elif p[0] < 0.50:
        expected = "diffuse"
    else:
        expected = "leaning"
    assert tier_of(p) == expected


@pytest.mark.parametrize(
    ("p", "tier"),
    [
        ([0.80, 0.20], "dominant"),
        ([0.45, 0.30, 0.25], "hybrid"),
        ([0.50, 0.25, 0.25], "leaning"),
        ([0.49, 0.29, 0.22], "diffuse"),
        ([0.79, 0.21], "leaning"),
    ],
)
def test_tier_thresholds_at_their_edges(p, tier):
    assert tier_of(p) == tier


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        yield connection


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_sql_text_bit_for_bit(database, value):
    found, kind = database.execute(f"SELECT {number(value)}, typeof({number(value)})").fetchone()
    assert kind == "DOUBLE"
    assert found == value


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00")))
def test_a_text_survives_sql_text(database, text):
    assert database.execute(f"SELECT {literal(text)}").fetchone()[0] == text
