"""Candidates in and out of the warehouse: what the next month knows of them."""

from datetime import date

import duckdb
import numpy as np
import pytest

from segment_pipeline.customers.space_store import write_feature_space
from segment_pipeline.database.store import prepare
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.candidates_store import candidates_before, read_challenger, write_candidates
from segment_pipeline.models.challengers import fit_challengers
from segment_pipeline.models.champion import FOLLOWED, OWN
from segment_pipeline.models.champions_store import stability_at_promotion
from segment_pipeline.publishing.catalogue import TABLES
from segment_pipeline_tests.models.test_model import model
from segment_pipeline_tests.remembered_worlds import config

FIRST, SECOND = date(2020, 1, 1), date(2020, 2, 1)
SHOP = "features: [{name: x}, {name: y}]\nmodel: {n_components: [2, 3]}\n"


def test_the_candidates_of_the_month_before_come_back_in_this_months_coordinates() -> None:
    settings = config(SHOP)
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 2)) + 3.0 * (np.arange(600) % 2)[:, None]
    old, new = FeatureSpace.fit(settings.features, X), FeatureSpace.fit(settings.features, 2.0 * X + 1.0)
    found = fit_challengers(old, X, map(str, range(len(X))), settings)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("x", "y"))
        write_feature_space(connection, FIRST, old, [], [])
        write_candidates(connection, FIRST, found.candidates, found.refusals, found.choice)
        known = candidates_before(connection, SECOND, new)
        assert candidates_before(connection, FIRST, new) == []
    assert [mixture.n_components for mixture, _ in known] == [2, 3]
    for (mixture, memory), candidate in zip(known, found.candidates, strict=True):
        assert memory is None
        np.testing.assert_allclose(
            mixture.responsibilities(new.transform(X)), candidate.mixture.responsibilities(old.transform(X)), atol=1e-9
        )


def test_candidates_of_several_types_are_kept_apart() -> None:
    settings = config("features: [{name: x}, {name: y}]\nmodel: {n_components: [2, 3], covariance: [tied, full]}\n")
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 2)) + 4.0 * (np.arange(600) % 2)[:, None]
    space = FeatureSpace.fit(settings.features, X)
    found = fit_challengers(space, X, map(str, range(len(X))), settings)
    assert [one.key for one in found.candidates] == [("tied", 2), ("tied", 3), ("full", 2), ("full", 3)]
    assert found.choice.candidate is not None
    assert found.choice.candidate.key == ("tied", 2)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("x", "y"))
        write_feature_space(connection, FIRST, space, [], [])
        write_candidates(connection, FIRST, found.candidates, found.refusals, found.choice)
        selected = connection.execute("SELECT covariance_type, n_components FROM candidate_models WHERE selected")
        assert selected.fetchall() == [("tied", 2)]
        challenger = read_challenger(connection, FIRST)
        known = candidates_before(connection, SECOND, space)
    assert challenger.mixture is not None
    assert challenger.mixture.to_plain() == found.choice.candidate.mixture.to_plain()
    assert challenger.mixture.n_parameters == 1 + 4 + 3
    assert [(mixture.covariance_type, mixture.n_components) for mixture, _ in known] == [
        ("full", 2),
        ("full", 3),
        ("tied", 2),
        ("tied", 3),
    ]


def test_a_warehouse_from_before_there_were_types_says_full_and_its_candidates_are_known() -> None:
    settings = config(SHOP)
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 2)) + 4.0 * (np.arange(600) % 2)[:, None]
    space = FeatureSpace.fit(settings.features, X)
    found = fit_challengers(space, X, map(str, range(len(X))), settings)
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("x", "y"))
        write_feature_space(connection, FIRST, space, [], [])
        write_candidates(connection, FIRST, found.candidates, found.refusals, found.choice)
        for table in ("candidate_models", "candidate_parameters", "candidate_choices"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN covariance_type")
        prepare(connection, TABLES, ("x", "y"))
        types = connection.execute("SELECT DISTINCT covariance_type FROM candidate_models").fetchall()
        challenger, known = read_challenger(connection, FIRST), candidates_before(connection, SECOND, space)
    assert types == [("full",)]
    assert challenger.mixture is not None
    assert [mixture.n_components for mixture, _ in known] == [2, 3]


@pytest.mark.parametrize(
    ("rationale", "selected", "known"),
    [("3 segments, chosen by BIC.", True, 0.93), (None, True, 0.93), (FOLLOWED, True, None), (OWN, True, None)]
    + [("3 segments, chosen by BIC.", False, None)],
)
def test_a_champion_that_is_not_the_months_challenger_has_no_stability_of_its_own(rationale, selected, known) -> None:
    """One that follows its customers has as many components as some candidate, and that one's searches say nothing."""
    champion = model()
    with duckdb.connect() as connection:
        prepare(connection, TABLES, ("x", "y"))
        place = (champion.trained_month, champion.mixture.covariance_type, champion.mixture.n_components)
        connection.execute(
            "INSERT INTO candidate_models (month, covariance_type, n_components, stability, selected) "
            "VALUES (?, ?, ?, 0.93, ?)",
            [*place, selected],
        )
        connection.execute(
            "INSERT INTO model_versions (trained_month, covariance_type, n_components, model_version, rationale) "
            "VALUES (?, ?, ?, ?, ?)",
            [*place, champion.model_version, rationale],
        )
        assert stability_at_promotion(connection, champion) == known
