"""The kit of the charts: round ticks within the scale, marks where their values are, parts that do not overlap."""

import math
import re

import pytest

from segment_pipeline.drawing import Names, Numbers, Part, Plot, Shares, around, chart, grid, legend, round_numbers


@pytest.mark.parametrize(
    ("low", "high", "about", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.3, 3, [0, 0.1, 0.2, 0.3]),
        (-30, 70, 5, [-20, 0, 20, 40, 60]),
        (20_990, 21_480, 5, [21_000, 21_100, 21_200, 21_300, 21_400]),
        (0, 0.00012, 2, [0, 0.0001]),
    ],
)
def test_ticks_are_round_and_within_the_scale(low, high, about, expected):
    assert round_numbers(low, high, about) == expected


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-3.0, 8.0], [1e-9], [1e12, 3.0]])
@pytest.mark.parametrize("zero", [True, False])
def test_a_scale_holds_every_value_and_has_a_width(values, zero):
    scale = around(values, zero=zero)
    assert scale.low < scale.high
    assert all(0 <= scale.at(value, 100) <= 100 for value in values)
    assert scale.low <= 0 or not zero


def test_a_mark_lies_where_its_value_is_and_up_is_more():
    plot = Plot(200, 100, Numbers(0, 10), Numbers(0, 4))
    assert (plot.across(5), plot.down(1), plot.down(4)) == (100, 75, 0)
    assert plot.bar(2, 4, 0, 1) == '<rect x="40" y="75" width="40" height="25"/>'
    bent = Numbers(0, 999, math.log1p)
    assert bent.at(0, 300) == 0
    assert bent.at(9, 300) == pytest.approx(100)


def test_names_have_a_band_each_and_shares_are_written_as_percent():
    assert Names(["a", "b"]).marks(100) == [(25, "a"), (75, "b")]
    assert Names(["a", "a"]).marks(100) == [(25, "a"), (75, "a")]
    assert len(Names([str(month) for month in range(120)]).marks(600)) == 30
    assert Names(["a", "b"], unnamed=True).marks(100) == []
    assert [words for _, words in Shares(0, 0.1).marks(100)] == ["0 %", "5 %", "10 %"]


def test_long_names_below_an_axis_are_slanted_and_get_their_room():
    short, long = (Plot(100, 50, Names([name] * 4), Numbers(0, 1)).with_axes([]) for name in ("a", "a long name"))
    assert long.height > short.height
    assert "rotate(-45" in long.svg
    assert "rotate" not in short.svg


def test_parts_of_a_grid_do_not_overlap_and_their_right_edges_are_in_line():
    parts = [Part(width, height, f"<g id='{width}'/>") for width, height in ((30, 10), (50, 20), (40, 5))]
    together = grid(parts, 2, gap=10)
    assert (together.width, together.height) == (40 + 10 + 50, 20 + 10 + 5)
    places = re.findall(r"translate\(([\d.]+) ([\d.]+)\)", together.svg)
    assert places == [("10.0", "10.0"), ("50.0", "0.0"), ("0.0", "30.0")]
    assert 'viewBox="0 0 100 35"' in chart(together)
    assert grid([]) == Part(0, 0, "")


def test_a_legend_breaks_its_line_where_it_is_full():
    entries = [("circle", "#000000", f"segment {i}") for i in range(4)]
    assert legend(entries, 1000).height < legend(entries, 200).height
    assert legend([], 200).height == 0
