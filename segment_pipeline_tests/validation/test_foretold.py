"""What a champion with memory expects of the next month, on customers who go from segment to segment as is known."""

from datetime import date

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from segment_pipeline.mixture.chain.markov import MarkovMixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.chain.panel import SEEN
from segment_pipeline.mixture.features import FeatureSpace
from segment_pipeline.models.model import Segment, SegmentModel
from segment_pipeline.validation.figures import METRICS_OF_MEMORY, Figure, Missing
from segment_pipeline.validation.foretold import Foretold, foretell, foretold_figures
from segment_pipeline_tests.mixture.test_markov import APART, QUIET, simulated

# nobody's segment says anything of the next one
FORGETFUL = Memory(QUIET.new, QUIET.before, np.tile([0.4, 0.3, 0.2, 0.1], (4, 1)))


def a_champion(memory: Memory | None) -> SegmentModel:
    """APART in a space that leaves the features as they are."""
    space = FeatureSpace(("x", "y"), ("none", "none"), (0.01, 0.01), np.zeros(2), np.ones(2), np.full(2, 1e-4))
    segments = tuple(Segment(1 + i, f"name {1 + i}", None) for i in range(3))
    return SegmentModel(1, date(2023, 5, 1), space, APART, segments, -20.0, memory)


def of_last_month(champion: SegmentModel, truth: Memory, seed: int = 3) -> Foretold:
    """The last of three months of customers who move as `truth` has it, as the champion expected it."""
    panel, _ = simulated(APART, truth, 6000, 3, seed, newcomers=0.0, missing=0.0)
    known = MarkovMixture.of(APART, champion.memory).filter(panel.until(2))[:, 1, :3]
    was_there, is_there = (panel.states[:, t] == SEEN for t in (1, 2))
    last = (panel.months_of_rows == 2) & was_there[panel.customers_of_rows]
    return foretell(champion, known[was_there], is_there[was_there], panel.rows[last])


def the(figures: list[Figure], metric: str, subject: str = "") -> Figure:
    (found,) = [figure for figure in figures if (figure.metric, figure.subject) == (metric, subject)]
    return found


def test_a_memory_that_is_right_passes_and_beats_what_knows_less():
    figures = foretold_figures(of_last_month(a_champion(QUIET), QUIET))
    assert tuple(dict.fromkeys(figure.metric for figure in figures)) == METRICS_OF_MEMORY
    assert all(figure.passed is not False for figure in figures)
    assert the(figures, "next_log_score_gain", "mixture").low > 0.3
    assert the(figures, "next_log_score_gain", "as last month").low > 0.1
    assert the(figures, "next_calibration_error").value < 0.01


def test_a_memory_of_customers_who_have_none_fails():
    figures = foretold_figures(of_last_month(a_champion(QUIET), FORGETFUL))
    against = the(figures, "next_log_score_gain", "mixture")
    assert not against.passed
    assert against.high < -0.02
    assert against.sentence.endswith("mixture would do.")
    assert f"Against mixture, memory foretells a customer {-against.value:.3f} nats worse (" in against.sentence
    assert not the(figures, "next_calibration_error").passed
    assert any(figure.passed is False for figure in figures if figure.metric == "next_calibration_gap")


def test_the_log_score_is_the_density_of_what_was_expected():
    champion = a_champion(QUIET)
    before, X = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]), np.array([[-2.0, 0.5], [1.0, 3.0]])
    found = foretell(champion, before, np.array([True, True]), X)
    densities = np.column_stack(
        [multivariate_normal(m, c).pdf(X) for m, c in zip(APART.means, APART.covariances, strict=True)]
    )
    expected = before @ QUIET.transitions[:3, :3]
    expected /= expected.sum(axis=1, keepdims=True)
    assert found.log_scores["memory"] == pytest.approx(np.log((expected * densities).sum(axis=1)))
    assert found.log_scores["mixture"] == pytest.approx(np.log(densities @ APART.weights))
    assert found.log_scores["as last month"] == pytest.approx(np.log((before * densities).sum(axis=1)), abs=1e-3)
    assert found.came[:, :3] == pytest.approx(expected * densities / (expected * densities).sum(axis=1)[:, None])


def test_who_lapsed_counts_with_the_probability_of_lapsing():
    champion = a_champion(QUIET)
    found = foretell(champion, np.eye(3), np.zeros(3, dtype=bool), np.empty((0, 2)))
    assert found.expected[:, -1].tolist() == QUIET.transitions[:3, -1].tolist()
    assert found.came.tolist() == [[0.0, 0.0, 0.0, 1.0]] * 3
    assert {figure.value for figure in foretold_figures(found)} == {None}


def test_few_forecasts_of_a_tenth_are_shown_and_not_judged():
    found = Foretold(1, np.full((20, 2), 0.5), np.tile([1.0, 0.0], (20, 1)), {"memory": np.zeros(20)})
    gap = the(foretold_figures(found), "next_calibration_gap", "0.5-0.6")
    assert (gap.value, gap.threshold, gap.passed) == (0.0, None, None)
    many = Foretold(1, np.full((60, 1), 0.5), np.ones((60, 1)), {"memory": np.zeros(60)})
    gap = the(foretold_figures(many), "next_calibration_gap", "0.5-0.6")
    assert (gap.value, gap.passed) == (0.5, False)


def test_nothing_is_said_where_nothing_was_expected():
    assert foretold_figures(None) == []
    unknown = foretold_figures(Missing("nobody knows."))
    assert [figure.metric for figure in unknown] == [*METRICS_OF_MEMORY]
    assert {figure.sentence for figure in unknown} == {"Not computed: nobody knows."}
    with pytest.raises(ValueError, match="has no memory"):
        foretell(a_champion(None), np.eye(3), np.ones(3, dtype=bool), np.zeros((3, 2)))
