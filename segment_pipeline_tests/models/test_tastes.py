"""Customers who differ only in what they buy are told apart by their categories, and not without."""

from pathlib import Path

from segment_pipeline_tests.simulated_tastes import assigned, customers_of_tastes, found_kinds


def test_kinds_of_customers_are_found_by_what_they_buy_and_not_without(tmp_path: Path) -> None:
    """And who is of two kinds has these two as the likeliest segments, and mostly lies between them, as hardly anybody
    of one kind does. The draw is another one than the benchmark's."""
    tastes = customers_of_tastes(3000, seed=3, orders=12.0)
    found = {}
    for features in ("ratios", "without"):
        of = assigned(tastes, features, tmp_path)
        assert not isinstance(of, str)
        found[features] = found_kinds(tastes, of)
    assert found["ratios"].agreement >= 0.8
    assert found["ratios"].right_two >= 0.8
    assert found["ratios"].between_right_two >= 0.55
    assert found["ratios"].between_of_one < 0.08
    assert found["ratios"].between > 2.5 * found["ratios"].second
    assert found["without"].agreement < 0.05
    assert found["without"].right_two < 0.4
