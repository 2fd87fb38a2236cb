"""Customers who differ only in what they buy are told apart by their categories, and not without."""

from pathlib import Path

from segment_pipeline_tests.simulated_tastes import customers_of_tastes, found_kinds, memberships


def test_kinds_of_customers_are_found_by_what_they_buy_and_not_without(tmp_path: Path) -> None:
    """And who is of two kinds has these two as the likeliest segments. The draw is another one than the benchmark's."""
    tastes = customers_of_tastes(3000, seed=3, orders=12.0)
    found = {}
    for features in ("ratios", "without"):
        of = memberships(tastes, features, tmp_path)
        assert not isinstance(of, str)
        found[features] = found_kinds(tastes, of)
    assert found["ratios"].agreement >= 0.8
    assert found["ratios"].right_two >= 0.8
    assert found["without"].agreement < 0.05
    assert found["without"].right_two < 0.4
