"""Real processes for tests: the command line started, killed and waited for, without paying for its imports each time.

A server process imports what a run imports, once, and forks: each child is a process of its own, with its own files
and signals, that runs `segment_pipeline.cli.main` and nothing else.
"""

import atexit
import functools
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segment_pipeline_tests.shop import Shop


@dataclass(frozen=True)
class Finished:
    """`code` is the exit code, or minus the signal that ended the process, as in subprocess."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Started:
    """A command at work."""

    server: "Commands"
    pid: int
    out: Path
    err: Path

    def wait(self) -> Finished:
        code = self.server.ask({"wait": self.pid})
        return Finished(code, self.out.read_text(), self.err.read_text() if self.err.is_file() else "")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def says(self, text: str, timeout: float = 180) -> str:
        """What stands on stderr, once `text` does."""
        return eventually(lambda: self.err.read_text() if text in self.err.read_text() else None, timeout)


class Commands:
    """Starts commands; `moment` names one of MOMENTS, at which the process kills itself, or, where `sends` is SIGINT,
    stops itself as Ctrl-C would; `days_ahead` how far its clock is ahead of the true one, below 0 how far behind;
    `largest_file` how many bytes a file of it may have, as if no more fitted on the disk; `most_memory` how many more
    bytes the process may ask for, as if the machine had no more."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "segment_pipeline_tests.commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        *arguments: str,
        moment: str | None = None,
        sends: int = signal.SIGKILL,
        days_ahead: float = 0,
        environment: dict[str, str] | None = None,
        largest_file: int | None = None,
        most_memory: int | None = None,
        err: Path | None = None,
    ) -> Started:
        """Start a command; `err` is where its stderr goes, such as a terminal."""
        self._count += 1
        out = self._folder / f"{self._count}.out"
        err = err or self._folder / f"{self._count}.err"
        out.touch()
        err.touch()
        request = {"arguments": arguments, "moment": moment, "sends": int(sends), "days_ahead": days_ahead}
        request |= {"environment": environment or {}, "largest_file": largest_file, "most_memory": most_memory}
        pid = self.ask(request | {"out": str(out), "err": str(err)})
        return Started(self, pid, out, err)

    def run(
        self,
        shop: Shop,
        *arguments: str,
        moment: str | None = None,
        sends: int = signal.SIGKILL,
        days_ahead: float = 0,
        environment: dict[str, str] | None = None,
        largest_file: int | None = None,
        most_memory: int | None = None,
    ) -> Finished:
        """`segment-pipeline run` on the shop, to its end."""
        return self.start(
            *("run", "--config", str(shop.config_path), *arguments),
            moment=moment,
            sends=sends,
            days_ahead=days_ahead,
            environment=environment,
            largest_file=largest_file,
            most_memory=most_memory,
        ).wait()

    def close(self) -> None:
        self._process.communicate(timeout=30)


@functools.cache
def shared_commands() -> Commands:
    """One server for all tests of this process."""
    folder = Path(tempfile.mkdtemp(prefix="segment_pipeline_commands_"))
    commands = Commands(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(commands.close)
    return commands


def eventually(look: Callable[[], Any], timeout: float = 180) -> Any:
    """What `look` returns, as soon as that is true."""
    deadline = time.monotonic() + timeout
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {timeout} s in vain"
        time.sleep(0.02)
    return found


def _serve() -> None:
    _import_what_a_run_imports()
    gc.freeze()  # no child searches it for garbage
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                _be_a_command(request)
        print(json.dumps(answer), flush=True)


def _import_what_a_run_imports() -> None:
    """All but the code location: which months it has, it reads from the user's file when it is imported."""
    import dagster as dg
    import great_expectations  # noqa: F401
    import pyarrow  # noqa: F401
    import rich.progress  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.cluster  # noqa: F401

    import segment_pipeline.cli.main
    import segment_pipeline.customers.expectations
    import segment_pipeline.mixture.candidates
    import segment_pipeline.orchestration.resources
    import segment_pipeline.publishing.draft  # noqa: F401

    with dg.instance_for_test():  # SQLAlchemy and Alembic come with the first instance
        pass


def _be_a_command(request: dict[str, Any]) -> None:
    from segment_pipeline.cli.main import main

    for number, path in ((1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, os.O_WRONLY), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.pop("SEGMENT_PIPELINE_CONFIG", None)
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background processes ignore it
    if request["moment"]:
        _die_at(request["moment"], request["sends"])
    _set_clock(request["days_ahead"])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))
    if request["most_memory"] is not None:
        here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + request["most_memory"], resource.RLIM_INFINITY))
    code = 70  # an exception that nobody caught
    try:
        code = main(request["arguments"])
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 1
    except BaseException:  # noqa: BLE001 - a traceback is what the tests look for
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _set_clock(days_ahead: float) -> None:
    """Let the time that a run writes down be that of a clock which is wrong."""
    from segment_pipeline.orchestration import resources

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=days_ahead)

    resources.datetime = Clock  # type: ignore[misc]


def _die_at(moment: str, number: int) -> None:
    """Patch the run so that it sends itself that signal: before or after an asset's commit, or inside publishing."""
    from segment_pipeline.cli import people, traces
    from segment_pipeline.database import store
    from segment_pipeline.orchestration.resources import Pipeline
    from segment_pipeline.publishing import draft
    from segment_pipeline.quickstart import folder

    when, _, what = moment.partition(" ")

    def die(*_: object) -> None:
        os.kill(os.getpid(), number)

    def instead(module: Any, name: str) -> None:
        setattr(module, name, die)

    def afterwards(module: Any, name: str) -> None:
        original = getattr(module, name)
        setattr(module, name, lambda *given: (original(*given), die()))

    def search_dying(clear: Callable[..., int]) -> None:
        traces._clear_database = lambda file, _: clear(file, SimpleNamespace(search=die))  # type: ignore[assignment,arg-type]

    step = Pipeline.step

    @contextmanager
    def deadly_step(self: Pipeline, context: Any) -> Iterator[Any]:
        here = context.asset_key.to_user_string() == what
        with step(self, context) as work:
            yield work
            if here and when == "before":
                die()  # its rows are written, in a transaction that nobody commits
        if here:
            die()

    inside = {
        "customers are put": lambda: afterwards(folder, "put_customers"),
        "rows are taken out": lambda: afterwards(people, "_change"),
        "warehouse is rewritten": lambda: afterwards(store.Warehouse, "rewrite"),
        "history is searched": lambda: search_dying(traces._clear_database),
        "draft is full": lambda: afterwards(draft, "_copy"),
        "draft is complete": lambda: instead(draft, "_check"),
        "draft is checked": lambda: afterwards(draft, "_check"),
        "draft is on disk": lambda: afterwards(store, "_sync"),
        "file is replaced": lambda: setattr(store, "_sync", lambda path: path.is_dir() and die()),
    }
    if moment in inside:
        inside[moment]()
    else:
        Pipeline.step = deadly_step  # type: ignore[method-assign]


if __name__ == "__main__":
    _serve()
