"""A second process for pure functions: the same results, whatever becomes of it, and nothing of it left behind."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline import helper

pytestmark = pytest.mark.process
HERE = "from segment_pipeline_tests import test_helper"


def whose(common: int, own: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), common + own


def sums(common: np.ndarray, own: float) -> float:
    return float((common * own).sum())


def refuse(common: str, own: int) -> int:
    if own == 3:
        raise ValueError(f"{common} {own}")
    return own


def say(common: str) -> str:
    print(common)
    return common


def interrupted_here(process: int, seconds: float) -> None:
    time.sleep(0.5)
    if os.getpid() == process:
        raise KeyboardInterrupt
    time.sleep(seconds)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[helper.Helper]:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with helper.at_hand(HERE):
        assert helper._helper is not None
        helper.aside(say, "ready")()
        yield helper._helper
    assert helper._helper is None


def test_both_take_part_and_answers_come_in_their_order(started: helper.Helper) -> None:
    found = helper.each(whose, 10, [(i,) for i in range(20)])
    assert [value for _, value in found] == list(range(10, 30))
    assert len({process for process, _ in found}) == 2


def test_the_results_are_those_of_this_process_to_the_last_bit(started: helper.Helper) -> None:
    arrays = [np.random.default_rng(seed).normal(size=(999, 7)) for seed in range(2 * helper.KEPT)]
    for common in [*arrays, *arrays]:  # more than are kept there, so that some are sent twice
        assert helper.aside(sums, common, 0.1)() == sums(common, 0.1)
        assert helper.each(sums, common, [(i / 7,) for i in range(9)]) == [sums(common, i / 7) for i in range(9)]


def test_what_it_raises_is_raised_here_and_it_goes_on(started: helper.Helper) -> None:
    with pytest.raises(ValueError, match="no 3"):
        helper.each(refuse, "no", [(i,) for i in range(6)])
    with pytest.raises(ValueError, match="no 3"):
        helper.aside(refuse, "no", 3)()
    assert helper.aside(refuse, "no", 4)() == 4


def test_what_is_printed_there_is_no_answer(started: helper.Helper) -> None:
    assert helper.aside(say, "hello")() == "hello"


def test_what_a_killed_helper_had_begun_is_computed_here(started: helper.Helper) -> None:
    late = threading.Timer(0.1, started._process.kill)
    late.start()
    found = helper.each(whose, 0, [(i,) for i in range(30)])
    late.join()
    assert [value for _, value in found] == list(range(30))
    assert helper.aside(whose, 0, 5)() == (os.getpid(), 5)


def test_an_interrupt_at_the_terminal_is_not_for_it_and_it_ends_with_the_block(started: helper.Helper) -> None:
    assert os.getpgid(started._process.pid) != os.getpgrp()
    started.close()
    assert started._process.returncode in (0, -signal.SIGKILL)


def test_who_ends_early_does_not_wait_for_its_imports() -> None:
    slow = helper.Helper("import time; time.sleep(3600)")
    slow.close()
    assert slow._process.returncode == -signal.SIGKILL


def test_it_ends_where_whoever_started_all_of_this_ignores_that_it_should() -> None:
    """As children do of a test's worker, or of a service that is not to be stopped."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        beside = helper.Helper("pass")
        assert beside.compute(say, "ready", ()) == "ready"
        beside.close()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_ends_early_does_not_wait_for_a_call_and_computes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    begun = time.monotonic()

    def stopped_while_two_calls_are_aside() -> None:
        with helper.at_hand(HERE):
            helper.aside(time.sleep, 60.0)
            helper.aside(time.sleep, 60.0)  # waits for the first
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_while_two_calls_are_aside()
    with pytest.raises(KeyboardInterrupt), helper.at_hand(HERE):
        helper.each(interrupted_here, os.getpid(), [(60.0,), (60.0,), (60.0,)])
    assert time.monotonic() - begun < 30


def test_what_is_asked_for_after_its_end_is_computed_here(started: helper.Helper) -> None:
    slow = helper.aside(whose, 0, 5)
    next_one = helper.aside(whose, 0, 6)
    started.close()
    assert [slow()[1], next_one()[1]] == [5, 6]


def test_no_module_of_the_folder_that_somebody_works_in_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "email.py").write_text("open('was run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    beside = helper.Helper("import email")
    assert beside.compute(say, "ready", ()) == "ready"
    beside.close()
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(("cores", "wanted"), [(1, True), (2, False)])
def test_without_a_core_or_a_wish_there_is_none_and_all_is_computed_here(
    cores: int, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    with helper.at_hand(HERE, wanted=wanted):
        assert helper.each(whose, 1, [(1,), (2,)]) == [(os.getpid(), 2), (os.getpid(), 3)]
        assert helper.aside(whose, 1, 1)() == (os.getpid(), 2)
