"""That the measures which several rooms take are those of the textbook, at the ends too."""

import numpy as np
import pytest

from segment_pipeline.measures import Z95, k_means, wilson


def test_wilsons_interval_has_the_published_figures():
    # Newcombe (1998), table I: 81/263, 15/148, 0/20, 1/29
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("of", [1, 7, 9, 0.4, 11.25, 1_000_000])
def test_an_interval_that_begins_at_nothing_or_ends_at_all_does_so_exactly(of):
    assert wilson(0, of)[0] == 0.0
    assert wilson(of, of)[1] == 1.0


def test_hits_and_trials_may_be_effective_numbers():
    share, of = 0.3, 12.5
    low, high = wilson(share * of, of)
    # its ends are the shares that lie so many of their own standard errors away
    for end in (low, high):
        assert abs(share - end) == pytest.approx(Z95 * np.sqrt(end * (1 - end) / of))


def test_k_means_finds_no_more_clusters_than_rows_that_differ():
    Z = np.array([[0.0, 0.0], [5.0, 5.0]]).repeat(10, axis=0)
    assert len(set(k_means(Z, 5, seed=0).tolist())) == 2
    assert k_means(Z, 5, seed=0).tolist() == k_means(Z, 5, seed=0).tolist()
