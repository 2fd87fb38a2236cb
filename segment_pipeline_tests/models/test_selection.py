"""Which candidates may serve, which one does, and whether the reasons are told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segment_pipeline.config.model import MemorySettings, ModelSettings
from segment_pipeline.mixture.candidates import Candidate, Mixture
from segment_pipeline.mixture.chain.memory import Memory
from segment_pipeline.mixture.covariances import CovarianceType
from segment_pipeline.models.selection import BELIEVED_FROM, Continuity, choose, examined_in_turn, find_elbow, judge

SETTINGS = ModelSettings()


def candidate(k: int, score: float, **changes: object) -> Candidate:
    mixture = Mixture(np.full(k, 1 / k), np.zeros((k, 2)), np.array([np.eye(2)] * k))
    sound = Candidate(k, mixture, score, score, score + 100 * k, -1.0, -1.1, 0.95, 0.1, 0.5, True, False, None, 5.0)
    return replace(sound, **changes)  # type: ignore[arg-type]


def of_type(covariance_type: CovarianceType, one: Candidate) -> Candidate:
    return replace(one, mixture=replace(one.mixture, covariance_type=covariance_type))


def test_a_sound_candidate_is_admissible() -> None:
    assert judge(candidate(4, 100.0), SETTINGS) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"degenerate": True, "degeneracy": "component 2 has 6 effective members"}, "6 effective members"),
        ({"converged": False}, "did not converge"),
        ({"stability": 0.71}, "stability 0.71, at least 0.80"),
        ({"smallest_share": 0.011}, "1.10 % of the customers, at least 2.00 %"),
        ({"n_components": 9}, "more than the 8 segments"),
        ({"bic": float("nan")}, "not finite"),
    ],
)
def test_every_refusal_gives_its_figures(changes: dict[str, object], words: str) -> None:
    (reason,) = judge(candidate(4, 100.0, **changes), SETTINGS)
    assert words in reason


def test_the_bic_minimum_is_taken_among_the_admissible_only() -> None:
    spike = candidate(5, 50.0, degenerate=True, degeneracy="a spike")
    choice = choose([candidate(3, 300.0), candidate(4, 200.0), spike, candidate(6, 250.0)], SETTINGS)
    assert choice.candidate is not None
    assert (choice.candidate.n_components, choice.minimum, choice.runner_up) == (4, ("full", 4), ("full", 6))
    for words in (
        "4 segments, chosen by BIC",
        "lowest at 4",
        "Runner-up: 6",
        "50 BIC worse",
        "5 (degenerate: a spike)",
    ):
        assert words in choice.rationale


def test_icl_prefers_fewer_segments_that_overlap_less() -> None:
    candidates = [candidate(2, 310.0), candidate(3, 300.0), candidate(4, 290.0)]
    by_icl = choose(candidates, SETTINGS.model_copy(update={"criterion": "icl"}))
    assert by_icl.candidate is not None
    assert by_icl.candidate.n_components == 2
    assert "ICL is lowest at 2" in by_icl.rationale


def test_the_elbow_is_taken_where_there_is_one_and_the_minimum_where_there_is_none() -> None:
    elbow = SETTINGS.model_copy(update={"criterion": "elbow"})
    bent = choose([candidate(k, b) for k, b in [(2, 1000.0), (3, 400.0), (4, 350.0), (5, 320.0), (6, 310.0)]], elbow)
    assert bent.candidate is not None
    assert (bent.candidate.n_components, bent.elbow, bent.minimum) == (3, ("full", 3), ("full", 6))
    straight = choose([candidate(k, 1000.0 - 100 * k) for k in range(2, 7)], elbow)
    assert straight.candidate is not None
    assert (straight.candidate.n_components, straight.elbow) == (6, None)
    assert "more help much less), so its minimum was taken" in straight.rationale
    assert straight.rationale.startswith("6 segments, chosen by BIC, for want of an elbow, among")


def test_nothing_admissible_names_every_refusal_and_what_to_do() -> None:
    choice = choose([candidate(2, 1.0, stability=0.5), candidate(3, 1.0, converged=False)], SETTINGS)
    assert choice.candidate is None
    for words in ("None of the 2 candidates", "stability 0.50", "did not converge", "feature_diagnostics"):
        assert words in choice.rationale


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_an_elbow_lies_strictly_between_the_first_candidate_and_the_minimum(scores: list[float]) -> None:
    ks = list(range(2, 2 + len(scores)))
    elbow = find_elbow(ks, scores)
    assert elbow is None or 2 < elbow < ks[int(np.argmin(scores))]


@given(
    st.lists(
        st.tuples(st.floats(-1e5, 1e5), st.floats(0, 1), st.floats(0, 0.5), st.booleans(), st.booleans()),
        min_size=1,
        max_size=14,
    ),
    st.sampled_from(["bic", "icl", "elbow"]),
)
def test_whatever_is_chosen_is_admissible_and_order_does_not_matter(
    rows: list[tuple[float, float, float, bool, bool]], criterion: str
) -> None:
    settings = SETTINGS.model_copy(update={"criterion": criterion})
    candidates = [
        of_type(
            "full" if i % 2 else "tied",
            candidate(
                2 + i // 2, bic, stability=stability, smallest_share=share, converged=converged, degenerate=degenerate
            ),
        )
        for i, (bic, stability, share, converged, degenerate) in enumerate(rows)
    ]
    choice = choose(candidates, settings)
    assert choice.candidate is None or judge(choice.candidate, settings) == ()
    assert (choice.candidate is None) == all(judge(c, settings) for c in candidates)
    assert choose(candidates[::-1], settings).candidate is choice.candidate


def test_of_several_types_of_covariances_the_criterion_takes_the_best_and_the_words_name_it() -> None:
    tried = [
        *(candidate(k, score) for k, score in ((3, 300.0), (4, 220.0))),
        *(of_type("diagonal", candidate(k, score)) for k, score in ((3, 250.0), (4, 200.0), (5, 260.0))),
        *(of_type("spherical", candidate(k, 900.0, stability=float("nan"))) for k in (3, 4, 5)),
        of_type("tied", candidate(4, 100.0, stability=0.1)),
    ]
    choice = choose(tried, SETTINGS)
    assert choice.candidate is tried[3]
    assert (choice.minimum, choice.runner_up) == (("diagonal", 4), ("full", 4))
    for words in (
        "4 segments with diagonal covariances, chosen by BIC among the 5 admissible of 9 candidates",
        "BIC is lowest at 4 diagonal (200",
        "Runner-up: 4 segments with full covariances, 20 BIC worse",
        "Refused: 4 tied (independent searches disagree",
        "all with spherical covariances (cannot win: others describe the customers better",
    ):
        assert words in choice.rationale
    assert choice.rationale.count("cannot win") == 1
    kept = {one.key: float(one.key == ("full", 4)) for one in tried}
    steady = choose(tried, SETTINGS, continuity=Continuity(30.0, kept))
    assert steady.candidate is tried[1]
    assert "4 diagonal keeps 0 %, 4 full keeps 100 %" in steady.rationale


def test_every_type_of_covariances_has_an_elbow_of_its_own_and_the_lowest_is_taken() -> None:
    curve = [(2, 1000.0), (3, 400.0), (4, 350.0), (5, 320.0), (6, 310.0)]
    tried = [candidate(k, score) for k, score in curve]
    tried += [of_type("tied", candidate(k + 1, score - 60.0)) for k, score in curve]
    choice = choose(tried, SETTINGS.model_copy(update={"criterion": "elbow"}))
    assert choice.elbow == ("tied", 4)
    assert choice.candidate is not None
    assert choice.candidate.key == ("tied", 4)
    assert "the BIC curve bends most at 4 tied" in choice.rationale


def test_at_a_refit_of_candidates_that_fit_as_well_the_one_that_keeps_most_customers_is_taken() -> None:
    candidates = [candidate(3, 100.0), candidate(4, 112.0), candidate(5, 119.0), candidate(6, 150.0)]
    kept = {("full", k): share for k, share in ((3, 0.1), (4, 0.4), (5, 0.8), (6, 0.99))}
    choice = choose(candidates, SETTINGS, continuity=Continuity(20.0, kept))
    assert choice.candidate is candidates[2]
    assert (choice.minimum, choice.runner_up) == (("full", 3), ("full", 3))
    assert choice.rationale.startswith(
        "5 segments, chosen by continuity from the 3 whose BIC is within 20 of the lowest (of the customers in their "
        "segment 3 keeps 10 %, 4 keeps 40 %, 5 keeps 80 %) among the 4 admissible of 4 candidates"
    )
    assert "chosen by BIC" not in choice.rationale
    assert choose(candidates, SETTINGS, continuity=Continuity(1.0, kept)).candidate is candidates[0]
    assert (
        "continuity"
        not in choose(candidates, SETTINGS, continuity=Continuity(20.0, dict.fromkeys(kept, 0.0))).rationale
    )


def flickering(kept: float) -> Memory:
    """Four segments that stay, but for the second and fourth, which keep this much of each other."""
    over = (1.0 - kept / 0.95) / 2.0
    transitions = 0.95 * np.eye(5)
    transitions[[1, 3], [1, 3]] = 0.95 * (1.0 - over)
    transitions[[1, 3], [3, 1]] = 0.95 * over
    transitions[:4, 4] = 0.05
    transitions[4] = [0.05, 0.0, 0.0, 0.0, 0.95]
    return Memory(np.full(4, 0.25), np.full(5, 0.2), transitions)


def test_two_segments_that_exchange_customers_as_if_by_chance_are_refused() -> None:
    refused = candidate(4, 100.0, memory=flickering(0.1), min_kept=0.1)
    (reason,) = judge(refused, SETTINGS, MemorySettings())
    assert "flicker: segments 2 and 4 " in reason
    assert "says 0.10 of where it is a month later" in reason
    assert "at least 0.30 needed" in reason
    assert judge(candidate(4, 100.0, memory=flickering(0.35), min_kept=0.35), SETTINGS, MemorySettings()) == ()
    choice = choose([refused, candidate(3, 200.0)], SETTINGS, limits=MemorySettings())
    assert choice.candidate is not None
    assert choice.candidate.n_components == 3
    assert "flicker: segments 2 and 4" in choice.rationale


def test_segments_that_nearly_everybody_leaves_at_once_are_ages_and_refused() -> None:
    """The months since the last order, one after the other, until somebody orders again."""
    ageing = np.roll(np.eye(5), 1, axis=1)
    ageing[0] = [0.6, 0.4, 0.0, 0.0, 0.0]
    clock = candidate(4, 100.0, memory=Memory(np.eye(4)[0], np.full(5, 0.2), ageing), min_kept=1.0)
    (reason,) = judge(clock, SETTINGS, MemorySettings())
    assert "passage: of the customers of segment 2 0 % are in it a month later, at least 10 % needed" in reason
    assert judge(clock, SETTINGS, MemorySettings(min_stay=0.0)) == ()
    once = replace(clock, stability=math.nan)  # examined, and not searched for again
    assert judge(once, SETTINGS, MemorySettings()) == (reason,)
    never = replace(once, examined=lambda *_: clock)
    assert "cannot win" in judge(never, SETTINGS, MemorySettings())[0]
    assert choose([clock, candidate(3, 200.0)], SETTINGS, limits=MemorySettings()).candidate.n_components == 3


def to_segments(k: int, score: float, parts: tuple[tuple[int, ...], ...], asked: list[int]) -> Candidate:
    """A candidate whose components are these segments, on which searches agree, once it is asked."""
    plain = candidate(k, score, stability=0.5)

    def examined(*_: float) -> Candidate:
        asked.append(k)
        return replace(plain, mixture=replace(plain.mixture, parts=parts), examined=None, stability=0.95)

    return replace(plain, examined=examined)


def test_candidates_are_examined_in_the_order_of_the_criterion_until_a_candidate_may_serve() -> None:
    asked: list[int] = []
    candidates = [
        to_segments(3, 300.0, ((0,), (1,), (2,)), asked),
        to_segments(4, 200.0, ((0, 3), (1,), (2,)), asked),
        to_segments(9, 100.0, tuple((k,) for k in range(9)), asked),
    ]

    merged = examined_in_turn(candidates, SETTINGS)
    choice = choose(merged, SETTINGS)

    assert asked == [9, 4]
    assert [one.n_segments for one in merged] == [3, 3, 9]
    assert choice.candidate is not None
    assert (choice.candidate.n_components, choice.candidate.n_segments) == (4, 3)
    assert "3 segments (from 4 components" in choice.rationale
    assert "more than the 8 segments" in choice.rationale
    examined_in_turn(candidates, SETTINGS, within=100.0)  # what counts as equal is asked too
    assert asked == [9, 4, 9, 4, 3]


def test_more_components_than_a_team_can_act_on_may_serve_as_few_segments_but_not_as_one() -> None:
    nine = to_segments(9, 100.0, (tuple(range(5)), tuple(range(5, 9))), [])
    (merged,) = examined_in_turn([nine], SETTINGS)
    assert judge(merged, SETTINGS) == ()

    (reason,) = judge(replace(merged, mixture=replace(merged.mixture, parts=(tuple(range(9)),))), SETTINGS)
    assert "one group" in reason


def test_of_equals_those_are_examined_that_keep_more_customers() -> None:
    asked: list[int] = []
    each = {k: tuple((one,) for one in range(k)) for k in (3, 4, 5, 6)}
    tried = [to_segments(k, score, each[k], asked) for k, score in ((3, 100.0), (4, 110.0), (5, 120.0), (6, 500.0))]
    kept = {3: 0.6, 4: 0.5, 5: 0.9, 6: 1.0}
    found = examined_in_turn(tried, SETTINGS, 50.0, kept=lambda one: kept[one.n_components])
    assert asked == [3, 5]
    choice = choose(found, SETTINGS, continuity=Continuity(50.0, {one.key: kept[one.n_components] for one in found}))
    assert choice.candidate is found[2]


def test_who_was_not_asked_may_not_serve_but_is_compared() -> None:
    tried = [candidate(k, score, stability=float("nan")) for k, score in ((2, 300.0), (4, 120.0), (5, 140.0))]
    choice = choose([*tried, candidate(3, 100.0), candidate(9, 50.0, stability=0.1)], SETTINGS)
    assert choice.candidate is not None
    assert (choice.candidate.n_components, choice.runner_up) == (3, ("full", 4))
    assert "Next, and not examined further: 4 components, 20 BIC worse" in choice.rationale
    assert "2, 4 and 5 (cannot win: others describe the customers better" in choice.rationale
    assert choose(tried, SETTINGS).candidate is None
    by_elbow = SETTINGS.model_copy(update={"criterion": "elbow"})
    assert choose([*tried, candidate(3, 100.0)], by_elbow).runner_up is None


def test_more_segments_than_may_be_are_refused_for_that_though_nobody_searched_for_them_again() -> None:
    told: list[int | None] = []
    nine = candidate(9, 100.0, stability=math.nan)

    def examined(kept: float, stay: float, most: int | None = None) -> Candidate:
        told.append(most)
        return replace(nine, examined=None, too_many=True)

    (asked,) = examined_in_turn([replace(nine, examined=examined)], SETTINGS)
    assert told == [SETTINGS.max_segments]
    assert judge(asked, SETTINGS) == ("more than the 8 segments the team can act on",)
    (reason,) = judge(nine, SETTINGS)  # of a type that cannot win: whether its components are segments nobody knows
    assert "cannot win" in reason


MANY = BELIEVED_FROM


def on_one_value(k: int, score: float, after: str | None, asked: list[int], stability: float = 0.95) -> Candidate:
    """A candidate that one search has found on a value that many share, and what further searches say of it."""
    reason = (
        "component 1 of 5 has next to no spread along {}: {} of one customer's scatter. Its members repeat one value"
    )
    first = candidate(k, score, degenerate=True, degeneracy=reason.format("orders", k / 100), stability=math.nan)

    def examined(*_: float) -> Candidate:
        asked.append(k)
        told = None if after is None else reason.format(after, 0.0)
        return replace(first, examined=None, stability=stability, degenerate=told is not None, degeneracy=told)

    return replace(first, examined=examined)


def test_a_value_that_searches_for_fewer_components_end_on_is_not_searched_for_again() -> None:
    asked: list[int] = []
    tried = [on_one_value(k, score, "orders", asked) for k, score in ((4, 300.0), (6, 200.0), (8, 100.0))]

    found = examined_in_turn([to_segments(3, 400.0, ((0,), (1,), (2,)), asked), *tried], SETTINGS, customers=MANY)

    assert asked == [4, 3]
    choice = choose(found, SETTINGS)
    assert choice.candidate is found[0]
    for one in found[1:]:
        (reason,) = judge(one, SETTINGS)
        assert reason.startswith("degenerate: component 1 of 5 has next to no spread along orders")
        assert reason.endswith("not searched for again: independent searches for 4 end on that value") == (
            one.n_components > 4
        )


@pytest.mark.parametrize(("criterion", "customers"), [("elbow", MANY), ("bic", MANY - 1)])
def test_but_all_are_asked_for_the_elbow_and_of_few_customers(criterion: str, customers: int) -> None:
    asked: list[int] = []
    tried = [on_one_value(k, score, "orders", asked) for k, score in ((4, 300.0), (6, 200.0), (8, 100.0))]
    settings = SETTINGS.model_copy(update={"criterion": criterion})
    found = examined_in_turn(tried, settings, customers=customers)
    assert asked == [8, 6, 4]
    assert all(one.stability == 0.95 for one in found)


@pytest.mark.parametrize(("after", "stability"), [(None, 0.95), ("tenure", 0.95), ("orders", 0.5)])
def test_but_is_where_those_are_sound_or_fail_otherwise_or_disagree(after: str | None, stability: float) -> None:
    asked: list[int] = []
    fewer = on_one_value(4, 300.0, after, asked, stability)
    more = on_one_value(8, 100.0, None, asked)

    found = examined_in_turn([fewer, more], SETTINGS, customers=MANY)

    assert asked == [4, 8]
    assert choose(found, SETTINGS).candidate is found[1]


def test_of_another_type_of_covariances_nothing_is_believed() -> None:
    asked: list[int] = []
    fewer = of_type("diag", on_one_value(4, 300.0, "orders", asked))
    examined_in_turn([fewer, on_one_value(8, 100.0, "orders", asked)], SETTINGS, customers=MANY)
    assert 8 in asked
