"""Charts: colours that everybody can tell apart and that stay, small pictures, names that are only names."""

import itertools
import re
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from segment_pipeline import charts
from segment_pipeline.drawing import Numbers

JUNE, JULY, AUGUST = date(2023, 6, 1), date(2023, 7, 1), date(2023, 8, 1)
HOSTILE = "<script>alert(1)</script>\"'&"
# Machado, Oliveira and Fernandes 2009, severity 1: what people with protanopia and deuteranopia see of linear RGB
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2: 1 is the same, 21 is black on white."""
    dark, light = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    to_cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.array(to_lab) @ np.cbrt(np.array(to_cones) @ np.clip(rgb, 0, 1))


@pytest.mark.parametrize("ground", ["#ffffff", "#14171c"])
def test_every_segment_colour_stands_out_on_light_and_dark(ground):
    assert min(contrast(colour, ground) for colour in charts.PALETTE) >= 3.0


def test_the_text_of_the_page_is_legible_on_light_dark_and_paper():
    style = (Path(charts.__file__).parent / "report" / "report.css").read_text()
    blocks = re.findall(r"\{([^{}]*--ground:[^{}]*)\}", style)
    themes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in blocks]
    assert len(themes) == 4  # light, dark by the system, dark by the button, print
    for theme in themes:
        long = {name: full(value) for name, value in theme.items()}
        for ink in ("ink", "soft", "link"):
            assert contrast(long[ink], long["ground"]) >= 4.5, (ink, theme)
            assert contrast(long[ink], long["panel"]) >= 4.5, (ink, theme)


def test_good_and_bad_news_have_one_pair_of_colours_wherever_they_are_told():
    """The heat map's cells and the words of the cards: blue and brown, in each theme the shade that is legible."""
    style = (Path(charts.__file__).parent / "report" / "report.css").read_text()
    told = re.findall(r"--ground: (#\w+); --panel: (#\w+);[^{}]*--good: (\S+); --bad: (\S+);", style)
    assert len(told) == 4
    for ground, panel, good, bad in told:
        shade = "dark" if ground.startswith("#1") else "white"
        assert (good, bad) == (f"var(--good-on-{shade})", f"var(--bad-on-{shade})")
        for colours in (charts.GOOD, charts.BAD):
            colour = colours[shade == "dark"]
            assert min(contrast(colour, full(on)) for on in (ground, panel)) >= 4.5
    assert not re.findall(r"--(?:good|bad): #", style)
    assert (charts.HEAT[-1], charts.HEAT[0]) == (charts.GOOD[0], charts.BAD[0])


def full(colour: str) -> str:
    """#fff is short for #ffffff."""
    return colour if len(colour) == 7 else re.sub(r"(\w)", r"\1\1", colour)


@pytest.mark.parametrize("sight", SIGHTS)
def test_no_two_segment_colours_look_alike_to_anybody(sight):
    seen = [oklab(np.array(SIGHTS[sight]) @ linear(colour)) for colour in charts.PALETTE]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 0.085


@pytest.mark.parametrize("better", ["higher", "lower", None])
@pytest.mark.parametrize("index", [None, 0, 8, 40, 75, 100, 140, 250, 900])
def test_the_ink_of_a_heat_map_is_legible_on_its_cell(index, better):
    assert contrast(*charts.heat_of_index(index, better)) >= 4.5


def test_a_heat_map_is_blue_where_the_news_is_good_and_grey_where_nobody_says():
    silent, recent = charts.heat_of_index(400, "lower"), charts.heat_of_index(25, "lower")
    assert (silent[0], recent[0]) == (charts.HEAT[0], charts.HEAT[-1])
    assert charts.heat_of_index(400, "higher") == recent
    assert charts.heat_of_index(400) == charts.heat_of_index(25)
    assert charts.heat_of_index(400)[0] == charts.NEUTRAL[-1]


def test_the_ink_on_a_segments_colour_is_legible():
    assert min(contrast(colour, charts.ink_on(colour)) for colour in charts.PALETTE) >= 4.5


def test_a_segment_keeps_its_colour_over_months_and_refits():
    until_june = [(JUNE, 1), (JUNE, 2), (JUNE, 3)]
    until_july = until_june + [(JULY, 1), (JULY, 3), (JULY, 4)]
    until_august = until_july + [(AUGUST, 4), (AUGUST, 5), (AUGUST, 1)]
    june, july, august = (charts.segment_colours(known) for known in (until_june, until_july, until_august))
    assert july.items() >= june.items()
    assert august.items() >= july.items()
    assert len(set(august.values())) == 5  # a newcomer does not look like one that has just gone


def test_no_two_segments_of_a_chart_have_one_colour_and_each_stands_out():
    months = [date(2020 + i // 12, 1 + i % 12, 1) for i in range(40)]
    history = [(month, segment_id) for i, month in enumerate(months) for segment_id in range(2 * i, 2 * i + 12)]
    colours = charts.segment_colours(history)
    assert len(set(colours.values())) == len(colours) == 90
    assert list(colours.values())[: len(charts.PALETTE)] == list(charts.PALETTE)
    for ground in ("#ffffff", "#14171c"):
        assert min(contrast(colour, ground) for colour in colours.values()) >= 3.0


def test_a_sparkline_goes_from_low_to_high_and_leaves_gaps():
    assert charts.sparkline([1, 3, None, 8]) == "▁▃ █"
    assert charts.sparkline([5.0, 5.0]) == "▁▁"
    assert charts.sparkline([None, float("nan")]) == ""


def candidates():
    return [
        {
            "covariance_type": "full",
            "n_components": k,
            "bic": 20_000 + (k - 4) ** 2 * 30.0,
            "stability": 1.0 if k < 6 else 0.5,
            "admissible": k < 6,
        }
        for k in range(2, 9)
    ]


def moves():
    names = ["1", "2", "lapsed"]
    return [
        {"from_state": a, "to_state": b, "customers": 40 + 10 * i, "share": 0.1 * i}
        for i, (a, b) in enumerate(itertools.product(["1", "2", "new"], names))
    ]


def shares(name="Regulars"):
    return [
        {"month": month, "segment_id": segment_id, "name": name, "share": 0.5, "customers": 100}
        for month in (JUNE, JULY)
        for segment_id in (1, 2)
    ]


def every_chart(name):
    """Each chart, of rows in which whatever a user may name has this name."""
    colours = charts.segment_colours([(JUNE, 1), (JUNE, 2)])
    profiles = [
        {"segment_id": i, "name": name, "feature": name, "mean": 3.0, "unit": name, "index": 50.0 * i, "better": None}
        for i in (1, 2)
    ]
    bins = [
        {"feature": name, "stage": stage, "low": float(i), "high": i + 1.0, "customers": 5}
        for i in range(4)
        for stage in ("original", "standardised")
    ]
    limits = [{"feature": name, "stage": stage, "value": 3.0} for stage in ("original", "standardised")]
    certainty = [
        {"measure": measure, "low": 0.5, "high": 0.55, "customers": 7} for measure in ("max_probability", "entropy")
    ]
    drift = [
        {"month": month, "metric": "mean_shift", "value": 0.2, "threshold": 0.5, "fired": month == JULY}
        for month in (JUNE, JULY)
    ]
    judged = [
        {"warning": "any", "alerts": 10, "precision": 0.5, "precision_low": 0.3, "precision_high": 0.7}
        | {"base_rate": 0.4, "recency_precision": 0.5, "churn_risk_precision": None}
    ]
    names = {"1": name, "2": name}
    return {
        "bic": charts.bic_curve(candidates(), ("full", 3), ("full", 4)),
        "features": charts.feature_distributions(bins, limits),
        "heat map": charts.profile_heat_map(profiles),
        "matrix": charts.transition_matrix(moves(), names),
        "shares": charts.shares_over_time(shares(name), colours, [JULY]),
        "certainty": charts.histograms(certainty, {"max_probability": "largest", "entropy": "entropy"}),
        "drift": charts.drift_over_months(drift),
        "backtest": charts.backtest(judged),
        "flow": charts.journey_flow(moves(), names, colours),
        "flow on a phone": charts.journey_flow(moves(), names, colours, narrow=True),
        "bic on a phone": charts.bic_curve(candidates(), ("full", 3), ("full", 4), charts.NARROW),
        "certainty on a phone": charts.histograms(certainty, {"max_probability": "largest"}, charts.NARROW),
        "drift on a phone": charts.drift_over_months(drift, charts.NARROW),
        "backtest on a phone": charts.backtest(judged, charts.NARROW),
    }


def test_every_chart_is_an_svg_in_the_pages_ink_and_on_paper_in_its_own():
    for name, drawn in every_chart("Regulars").items():
        page, paper = ElementTree.fromstring(drawn), ElementTree.fromstring(charts.on_paper(drawn))
        assert page.get("fill") == "currentColor", name
        assert (paper.get("fill"), paper[0].get("fill")) == (charts.INK, charts.PAPER), name
        assert not any("currentColor" in mark.attrib.values() for mark in paper.iter()), name
        assert any(mark.get("role") == "graphics-symbol" for mark in page.iter()), name
        assert drawn == every_chart("Regulars")[name], name


def test_no_mark_of_a_chart_lies_outside_it():
    for name, drawn in every_chart("Regulars").items():
        page = ElementTree.fromstring(drawn)
        width, height = (float(page.get(side, "")) for side in ("width", "height"))
        for x, y in places(page):
            assert -1 <= x <= width + 1, name
            assert -1 <= y <= height + 1, name


def places(node: ElementTree.Element, x: float = 0.0, y: float = 0.0):
    """Where the rectangles and texts below a node begin, whatever groups they are in."""
    moved = re.match(r"translate\(([-\d.]+) ([-\d.]+)\)", node.get("transform", ""))
    x, y = (x + float(moved[1]), y + float(moved[2])) if moved else (x, y)
    if node.get("x") is not None:
        yield x + float(node.get("x")), y + float(node.get("y"))
    for below in node:
        yield from places(below, x, y)


def test_on_a_phone_a_chart_is_no_wider_than_the_page():
    narrow = {name: drawn for name, drawn in every_chart("Regulars").items() if name.endswith("on a phone")}
    assert len(narrow) == 5
    for name, drawn in narrow.items():
        page = ElementTree.fromstring(drawn)
        assert page.get("class") == "marks narrow", name
        assert float(page.get("width", "")) <= 390, name


def test_no_name_of_a_flow_lies_on_another_one():
    names = {"1": "Occasional customers, very few products", "2": "Loyal regulars"}
    few = [{"from_state": a, "to_state": b, "customers": 1, "share": 0.1} for a, b in (("new", "1"), ("returned", "2"))]
    many = {"from_state": "1", "to_state": "1", "customers": 5000, "share": 1.0}
    for narrow in (False, True):
        page = ElementTree.fromstring(
            charts.journey_flow([many, *few], names, {1: "#0077cc", 2: "#bb8800"}, narrow=narrow)
        )
        height = float(page.get("height", ""))
        for anchor in ("start", "end"):
            lines = [
                float(node.get("y")) for node in page if node.tag.endswith("text") and node.get("text-anchor") == anchor
            ]
            assert all(below - above >= 12 for above, below in itertools.pairwise(sorted(lines))), narrow
            assert max(lines) <= height, narrow


def test_a_name_in_a_chart_is_text_whatever_it_contains():
    for name, drawn in every_chart(HOSTILE).items():
        ElementTree.fromstring(drawn)
        assert "<script" not in drawn.lower(), name
        assert not re.search(r"\son\w+=", drawn), name
        if name.removesuffix(" on a phone") not in {"bic", "certainty", "drift", "backtest"}:
            assert "&lt;script&gt;" in drawn, name


def test_the_chosen_the_lowest_and_the_elbow_are_marked_and_the_refused_said():
    drawn = charts.bic_curve(candidates(), ("full", 3), ("full", 4))
    assert "lowest BIC, elbow" in drawn
    assert "3 components, chosen: BIC 20,030" in drawn
    assert "7 components, refused" in drawn


def test_the_lowest_bic_is_named_where_it_is_even_if_nobody_examined_it():
    rows = [row | {"admissible": row["n_components"] == 2, "stability": None} for row in candidates()]
    drawn = charts.bic_curve(rows, ("full", 2), None)
    assert "2 components, chosen: BIC 20,120, stability unknown (chosen)" in drawn
    assert "4 components, not asked: BIC 20,000, stability unknown (lowest BIC)" in drawn


def test_an_axis_below_zero_has_the_minus_of_the_figures_and_no_hyphen():
    labels = [label for _, label in Numbers(-0.0004, 0.0).marks(90)]
    assert "−0.0004" in labels


def test_red_is_an_alert_that_fired_and_not_any_crossed_limit():
    row = {"month": date(2023, 5, 1), "metric": "population_psi", "value": 0.5, "threshold": 0.2, "fired": False}
    assert charts.WARN not in charts.drift_over_months([row])
    fired = charts.drift_over_months([row | {"fired": True}])
    assert "limit 0.2, an alert fired" in fired
    assert charts.WARN in fired


def test_every_type_of_covariances_has_a_curve_of_its_own():
    tied = [row | {"covariance_type": "tied", "bic": row["bic"] + 50.0, "stability": None} for row in candidates()]
    drawn = charts.bic_curve([*candidates(), *tied], ("tied", 3), ("full", 4))
    assert "3 components, tied, chosen: BIC 20,080, stability unknown" in drawn
    assert "3 components, full, admissible" in drawn
    assert "4 components, full, admissible: BIC 20,000, stability 1.00 (lowest BIC, elbow)" in drawn
    assert drawn.count('fill="none" stroke=') == 2


def test_a_chart_of_nothing_is_an_empty_one():
    drawn = [
        charts.bic_curve([], None, None),
        charts.feature_distributions([], []),
        charts.profile_heat_map([]),
        charts.transition_matrix([], {}),
        charts.shares_over_time([], {}),
        charts.histograms([], {"max_probability": "largest"}),
        charts.drift_over_months([]),
        charts.backtest([]),
    ]
    for chart in drawn:
        assert not any(mark.get("role") for mark in ElementTree.fromstring(chart).iter())


def test_a_month_without_moves_has_no_flow():
    assert charts.journey_flow([], {}, {}) == ""


def test_a_drift_metric_that_is_not_measured_any_more_has_no_point():
    figures = [
        {"month": date(2023, 3, 1), "metric": "memory_available", "value": 0.5, "threshold": 0.0, "fired": True},
        {"month": date(2023, 4, 1), "metric": "memory_available", "value": None, "threshold": 0.0, "fired": False},
    ]
    drawn = charts.drift_over_months(figures)
    assert "2023-03, memory_available: 0.5" in drawn
    assert "2023-04, memory_available" not in drawn
