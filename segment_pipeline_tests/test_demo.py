"""The demo's shipped configuration on its real customers: a champion that can be trusted."""

from segment_pipeline_tests.shop import query


def test_the_demos_households_are_all_there(demo):
    counts = query(demo, "SELECT count(*) FROM monthly_assignments GROUP BY month ORDER BY month")
    assert counts == [(2280,), (2281,)]
    assert query(demo, "SELECT count(*) FROM rejected_customers") == [(0,)]


def test_the_champion_is_sound_stable_and_neither_certain_nor_blurred(demo):
    degenerate, stability, selected = query(
        demo, "SELECT degenerate, stability, selected FROM candidate_models WHERE month = '2017-03-01' AND selected"
    )[0]
    assert selected
    assert not degenerate
    assert stability >= 0.8
    for (certainty,) in query(demo, "SELECT avg(max_probability) FROM monthly_assignments GROUP BY month"):
        assert 0.6 <= certainty <= 0.98


def test_the_bic_has_a_minimum_inside_the_range(demo):
    """On point masses that components can sit on it falls without bound: the floor and the prior hold it."""
    curve = query(demo, "SELECT n_components, bic FROM candidate_models WHERE month = '2017-03-01' ORDER BY 1")
    best = min(curve, key=lambda row: row[1])
    assert 2 < best[0] < 10
