"""Identity across refits: what continues, what is new, and that no id ever changes its meaning or is used twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.config.model import AlignmentSettings
from segment_pipeline.mixture.candidates import Mixture
from segment_pipeline.models.alignment import Alignment, align, kept_share, soft_jaccard, wasserstein_distances

SETTINGS = AlignmentSettings()


def hard(labels: np.ndarray | list[int], k: int, certainty: float = 0.94) -> np.ndarray:
    """Membership probabilities of customers who belong to their label with this certainty."""
    R = np.full((len(labels), k), (1 - certainty) / max(k - 1, 1))
    R[np.arange(len(labels)), labels] = certainty if k > 1 else 1.0
    return R


def repeat(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def relations(alignment: Alignment) -> set[tuple[int | None, int | None, str]]:
    return {(row.segment_id, row.previous_segment_id, row.relation) for row in alignment.lineage}


def test_the_same_partition_in_another_order_keeps_every_id() -> None:
    old = hard(repeat(300, 200, 100), 3)
    order = [2, 0, 1]
    result = align(old, old[:, order], [4, 7, 9], 12, SETTINGS)
    assert result.segment_ids == (9, 4, 7)
    assert result.next_id == 12
    assert relations(result) == {(9, 9, "continued"), (4, 4, "continued"), (7, 7, "continued")}


def test_a_refit_with_blurred_edges_still_continues() -> None:
    random = np.random.default_rng(0)
    labels = repeat(500, 300, 200)
    moved = labels.copy()
    edge = random.random(1000) < 0.12
    moved[edge] = random.integers(0, 3, edge.sum())
    result = align(hard(labels, 3, 0.9), hard(moved, 3, 0.85), [1, 2, 3], 4, SETTINGS)
    assert result.segment_ids == (1, 2, 3)


def test_a_segment_cut_in_halves_gives_two_new_ids_and_names_its_origin() -> None:
    result = align(hard(repeat(400, 400), 2), hard(repeat(400, 200, 200), 3), [1, 2], 3, SETTINGS)
    assert result.segment_ids == (1, 3, 4)
    assert relations(result) == {(1, 1, "continued"), (3, 2, "split"), (4, 2, "split")}


def test_a_piece_that_breaks_off_is_a_split_and_the_rest_continues() -> None:
    result = align(hard(repeat(400, 600), 2), hard(repeat(400, 480, 120), 3), [1, 2], 3, SETTINGS)
    assert result.segment_ids == (1, 2, 3)
    assert (3, 2, "split") in relations(result)


def test_two_equal_segments_that_become_one_are_merged_into_a_new_id() -> None:
    result = align(hard(repeat(400, 300, 300), 3), hard(repeat(400, 600), 2), [1, 2, 3], 4, SETTINGS)
    assert result.segment_ids == (1, 4)
    assert relations(result) == {(1, 1, "continued"), (4, 2, "merged"), (4, 3, "merged")}


def test_a_piece_of_several_old_segments_names_them_all_the_largest_first() -> None:
    old, new = certain((0, 0, 30), (0, 1, 30), (1, 0, 22), (1, 1, 18))
    result = align(old, new, [1, 2], 3, SETTINGS)
    assert [(row.segment_id, row.previous_segment_id, row.relation) for row in result.lineage] == [
        (3, 1, "split"),
        (3, 2, "split"),
        (4, 1, "split"),
        (4, 2, "split"),
    ]
    assert [row.kept for row in result.lineage] == pytest.approx([0.5, 22 / 40, 0.5, 18 / 40])


def test_a_large_segment_that_swallows_a_small_one_keeps_its_id() -> None:
    result = align(hard(repeat(400, 500, 100), 3), hard(repeat(400, 600), 2), [1, 2, 3], 4, SETTINGS)
    assert result.segment_ids == (1, 2)
    assert (2, 3, "merged") in relations(result)


def test_a_small_segment_never_gives_its_id_to_a_large_one_that_swallowed_it() -> None:
    labels = repeat(100, 300, 300, 300)
    new = np.where(labels == 0, 0, np.tile([0, 1, 2], 334)[: len(labels)])
    result = align(hard(labels, 4), hard(new, 3), [1, 2, 3, 4], 5, SETTINGS)
    assert 1 not in result.segment_ids


def certain(*moves: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Certain memberships, old and new, of so many customers from each old segment in each new component."""
    old, new, customers = (np.array(column) for column in zip(*moves, strict=True))
    return np.eye(old.max() + 1)[old.repeat(customers)], np.eye(new.max() + 1)[new.repeat(customers)]


@pytest.mark.parametrize(
    ("moves", "limits", "ids"),
    [
        # 7 of 10 members lie in the partner
        ([(0, 0, 7), (0, 1, 3), (1, 1, 20)], {"survival": 0.7}, (1, 2)),
        ([(0, 0, 7), (0, 1, 3), (1, 1, 20)], {"survival": 0.71}, (3, 2)),
        # 10 of the partner's 20 members come from there, and 10 of 22
        ([(0, 0, 10), (1, 0, 5), (2, 0, 5), (1, 1, 15), (2, 2, 15)], {}, (1, 2, 3)),
        ([(0, 0, 10), (1, 0, 6), (2, 0, 6), (1, 1, 15), (2, 2, 15)], {}, (4, 2, 3)),
        # the overlap is 6 of 8, that of the next best 2 of 8
        ([(0, 0, 6), (0, 1, 2)], {"min_margin": 0.5}, (1, 2)),
        ([(0, 0, 6), (0, 1, 2)], {"min_margin": 0.51}, (2, 3)),
    ],
)
def test_who_reaches_a_limit_keeps_the_id_and_who_does_not_gets_another(moves, limits, ids) -> None:
    old, new = certain(*moves)
    old_ids = range(1, old.shape[1] + 1)
    result = align(old, new, old_ids, len(old_ids) + 1, AlignmentSettings(**limits))
    assert result.segment_ids == ids


@pytest.mark.parametrize(
    ("moves", "limits", "relation"),
    [
        # a piece that is 3 of 10 members of the old segment, where the rest goes on
        ([(0, 0, 7), (0, 1, 3)], {"split": 0.3}, "split"),
        ([(0, 0, 7), (0, 1, 3)], {"split": 0.31, "survival": 0.7}, "split"),  # all of it comes from there
        ([(0, 0, 20), (1, 1, 14), (0, 2, 3), (1, 2, 6)], {"split": 0.3, "survival": 0.7}, "split"),
        ([(0, 0, 20), (1, 1, 14), (0, 2, 3), (1, 2, 6)], {"split": 0.31, "survival": 0.7}, "born"),
        # a piece that is 7 of 100 members of the old segment, and of which 7 of 10 come from there
        ([(0, 0, 93), (0, 2, 7), (1, 1, 97), (1, 2, 3)], {"survival": 0.7}, "split"),
        ([(0, 0, 93), (0, 2, 7), (1, 1, 97), (1, 2, 3)], {"survival": 0.71}, "born"),
    ],
)
def test_a_piece_is_told_by_its_share_of_the_old_segment_or_by_where_its_members_come_from(
    moves, limits, relation
) -> None:
    old, new = certain(*moves)
    old_ids = range(1, old.shape[1] + 1)
    result = align(old, new, old_ids, len(old_ids) + 1, AlignmentSettings(**limits))
    assert [row.relation for row in result.lineage if row.segment_id == result.segment_ids[-1]] == [relation]


def test_the_share_that_keeps_its_id_is_counted_by_the_likeliest_segment() -> None:
    old, new = certain((0, 0, 45), (0, 1, 5), (1, 1, 50))
    assert kept_share(old, new, [3, 8], SETTINGS) == 0.95
    assert kept_share(old, new[:, ::-1], [3, 8], SETTINGS) == 0.95  # ids, not columns
    assert kept_share(old, old, [3, 8], SETTINGS) == 1.0


def test_unrelated_partitions_share_no_id() -> None:
    random = np.random.default_rng(0)
    old, new = (hard(random.integers(0, 3, 900), 3) for _ in range(2))
    result = align(old, new, [1, 2, 3], 4, SETTINGS)
    largest_first = np.argsort(-new.sum(axis=0))
    assert [result.segment_ids[j] for j in largest_first] == [4, 5, 6]
    # a third of each old one lies in each new one
    assert {row.relation for row in result.lineage} == {"split"}
    assert {row.previous_segment_id for row in result.lineage} == {1, 2, 3}


def test_below_the_margin_the_id_is_new() -> None:
    old, new = hard(repeat(500, 500), 2), hard(repeat(400, 600), 2)
    clear = align(old, new, [1, 2], 3, SETTINGS)
    strict = align(old, new, [1, 2], 3, AlignmentSettings(min_margin=0.9))
    assert clear.segment_ids == (1, 2)
    assert strict.segment_ids == (4, 3)  # the second is the larger one
    assert all(row.margin < 0.9 for row in strict.lineage if row.previous_segment_id is not None and row.segment_id)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100_000), st.floats(0.05, 3.0))
@settings(max_examples=150, deadline=None)
def test_ids_are_never_reused_and_every_component_and_old_segment_is_accounted_for(
    ko: int, kn: int, seed: int, concentration: float
) -> None:
    random = np.random.default_rng(seed)
    old = random.dirichlet(np.full(ko, concentration), 120)
    new = random.dirichlet(np.full(kn, concentration), 120)
    if kn >= ko and seed % 2:
        new[:, :ko] = 0.8 * old + 0.2 * new[:, :ko]
        new /= new.sum(axis=1, keepdims=True)
    old_ids = sorted(random.choice(50, size=ko, replace=False).tolist())
    result = align(old, new, old_ids, 50, SETTINGS)

    assert len(set(result.segment_ids)) == kn
    fresh = [
        i for i, _ in sorted(zip(result.segment_ids, -new.sum(axis=0), strict=True), key=lambda one: one[1]) if i >= 50
    ]
    assert fresh == list(range(50, 50 + len(fresh)))
    assert result.next_id == 50 + len(fresh)
    assert {row.segment_id for row in result.lineage} - {None} == set(result.segment_ids)
    assert {row.previous_segment_id for row in result.lineage} - {None} == set(old_ids)
    for row in result.lineage:
        assert (row.relation == "continued") == (row.segment_id == row.previous_segment_id)
        assert (row.relation == "born") == (row.previous_segment_id is None)
        assert (row.relation == "retired") == (row.segment_id is None)
        assert 0.0 <= row.overlap <= 1.0


@given(st.integers(0, 100_000))
@settings(max_examples=40, deadline=None)
def test_the_order_of_components_and_customers_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, 200)
    old = hard(labels, 4, 0.9)
    new = hard(np.where(random.random(200) < 0.1, 0, labels), 4, 0.8)
    order, rows = random.permutation(4), random.permutation(200)
    plain = align(old, new, [1, 2, 3, 4], 5, SETTINGS)
    shuffled = align(old[rows], new[rows][:, order], [1, 2, 3, 4], 5, SETTINGS)
    kept = [i if i < 5 else None for i in plain.segment_ids]
    assert [kept[j] for j in order] == [i if i < 5 else None for i in shuffled.segment_ids]


def test_soft_jaccard_is_one_for_equal_and_zero_for_disjoint_memberships() -> None:
    np.testing.assert_allclose(soft_jaccard(np.eye(2), np.eye(2)), np.eye(2))


def test_the_wasserstein_distance_of_shifted_and_scaled_gaussians_is_known() -> None:
    old = Mixture(np.array([1.0]), np.array([[0.0, 0.0]]), np.array([np.eye(2)]))
    new = Mixture(np.array([1.0]), np.array([[3.0, 4.0]]), np.array([4 * np.eye(2)]))
    assert wasserstein_distances(old, new)[0, 0] == pytest.approx(np.sqrt(25 + 2))
    row = align(np.ones((9, 1)), np.ones((9, 1)), [1], 2, SETTINGS, old, new).lineage[0]
    assert row.wasserstein == pytest.approx(np.sqrt(27))


@pytest.mark.parametrize(
    ("old", "new", "ids", "next_id", "message"),
    [
        (np.eye(2), np.eye(3), [1, 2], 3, "same customers"),
        (np.eye(2), np.eye(2), [1, 1], 3, "2 old components need as many different ids"),
        (np.eye(3)[:, :2], np.eye(3), [1, 2, 3], 4, "2 old components need as many different ids"),
        (np.empty((0, 2)), np.empty((0, 2)), [1, 2], 3, "same customers"),
        (np.eye(2), np.eye(2), [1, 2], 2, "greater than every id"),
    ],
)
def test_impossible_input_is_refused(
    old: np.ndarray, new: np.ndarray, ids: list[int], next_id: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        align(old, new, ids, next_id, SETTINGS)
