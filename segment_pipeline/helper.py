"""A process beside this one that computes pure functions: work on many small arrays, for which a second core is idle.

Threads do not use it: between two calls into NumPy that take microseconds each waits for the other. The helper costs a
second of imports, which pass while this process has its own, so it is started where several months are ahead
(`at_hand`); elsewhere everything is computed here. Who computes does not matter: same arguments, same bits.
"""

import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from segment_pipeline.errors import PipelineError

Result = TypeVar("Result")

KEPT = 3
"""Of what many calls have in common so much is sent once, and kept there."""

_SERVE = "; from segment_pipeline.helper import serve; serve()"
_helper: "Helper | None" = None


class HelperGoneError(PipelineError):
    """The helper has ended: what it had begun is to be computed here, by whoever still wants it."""


class Helper:
    """The process, and what it has been sent. One call at a time, from any thread."""

    def __init__(self, imports: str) -> None:
        one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.busy = threading.Lock()
        self._sent: deque[tuple[int, Any]] = deque(maxlen=KEPT)
        self._number = 0
        self._process = subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-P", "-c", imports + _SERVE],  # -P: no module of the folder that somebody works in
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | one_thread | path,
            start_new_session=True,  # Ctrl-C is for who has started it
        )

    def compute(self, function: Callable[..., Result], common: Any, arguments: Sequence[Any]) -> Result:
        """function(common, *arguments), computed there. Raises what it raises, and HelperGoneError."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        if self._process.stdin.closed:
            raise HelperGoneError("the helper has been ended")
        number, known = next(((number, True) for number, one in self._sent if one is common), (self._number, False))
        call = pickle.dumps((function, number, None if known else common, arguments), protocol=5)
        try:
            self._process.stdin.write(call)
            self._process.stdin.flush()
            raised, result = pickle.load(self._process.stdout)  # noqa: S301 - of our own process
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise HelperGoneError("the helper has ended") from error
        if not known:
            self._sent.append((number, common))
            self._number += 1
        if raised is not None:
            raise raised
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End it at once, also if it still imports or computes. Where this process is killed it ends by itself: nobody
        asks any more."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018
        self._process.kill()  # whoever ignores SIGTERM hands that on to his children
        self._process.wait()
        with self.busy:  # which whoever waits for an answer lets go now
            self._process.stdout.close()
            with suppress(OSError):  # of what it has not read
                self._process.stdin.close()


def serve() -> None:
    """What the helper does: answer, one call after the other, as long as somebody asks."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    kept: deque[tuple[int, Any]] = deque(maxlen=KEPT)
    while True:
        try:
            function, number, common, arguments = pickle.load(asked)  # noqa: S301 - of who has started it
        except EOFError:
            return
        if common is None:
            common = dict(kept)[number]
        else:
            kept.append((number, common))
        answer: tuple[Exception | None, Any]
        try:
            answer = None, function(common, *arguments)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
            answer = error, None
        try:
            pickle.dump(answer, answers, protocol=5)
            answers.flush()
        except BrokenPipeError:
            return


@contextmanager
def at_hand(imports: str, *, wanted: bool = True) -> Iterator[None]:
    """Within it there is a helper, where there is a core for one. imports : Python that it begins with, for it knows no
    room of this house: what takes long to import. wanted : False for none."""
    global _helper
    if not wanted or _helper is not None or (os.cpu_count() or 1) < 2:
        yield
        return
    started = _helper = Helper(imports)
    try:
        yield
    finally:
        _helper = None
        started.close()


def each(function: Callable[..., Result], common: Any, arguments: Sequence[Sequence[Any]]) -> list[Result]:
    """function(common, *one) for every one of the arguments, in their order, shared with the helper where there is one.

    function : of a module, and pure. common : what all calls need, not None; it is sent once. Both take the next that
    nobody has begun, so that neither waits for long. Raises what the function raises.
    """
    helper = _helper
    if helper is None or len(arguments) < 2:
        return [function(common, *one) for one in arguments]
    results: dict[int, Result] = {}
    to_do = iter(range(len(arguments)))

    def there(helper: Helper) -> list[int]:
        """What it had begun and left, where it has ended."""
        while True:
            with helper.busy:
                i = next(to_do, None)
                if i is None:
                    return []
                try:
                    results[i] = helper.compute(function, common, arguments[i])
                except HelperGoneError:
                    return [i]

    other = _beside(there, helper)
    try:
        for i in to_do:
            results[i] = function(common, *arguments[i])
        for i in other.result():
            results[i] = function(common, *arguments[i])
    except BaseException:
        deque(to_do, maxlen=0)  # what nobody has begun, nobody begins
        raise
    return [results[i] for i in range(len(arguments))]


def aside(function: Callable[..., Result], common: Any, *arguments: Any) -> Callable[[], Result]:
    """Begin function(common, *arguments) where there is a helper, and go on; what is returned gives the result, or
    raises what the function raises. Without a helper, or where it has ended, it is computed when it is asked for. As of
    `each` otherwise."""
    helper = _helper
    if helper is None:
        return partial(function, common, *arguments)

    def there(helper: Helper) -> Result:
        with helper.busy:
            return helper.compute(function, common, arguments)

    begun = _beside(there, helper)

    def result() -> Result:
        try:
            return begun.result()
        except HelperGoneError:
            return function(common, *arguments)

    return result


def _beside(work: Callable[[Helper], Result], helper: Helper) -> Future[Result]:
    """Begin it in a thread that nobody waits for who does not ask for its result."""
    pool = ThreadPoolExecutor(1)
    begun = pool.submit(work, helper)
    pool.shutdown(wait=False)
    return begun
