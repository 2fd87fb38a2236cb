"""The newest release of every dependency, bounds or not, and the quick tests on them: what a bound is to be moved for.

The bounds of pyproject.toml end before what nobody has tried, and requirements.lock is what the tests pass with. Run
this now and then (`make newest`): it makes an environment of its own in .cache/newest and takes some minutes. Where
tests fail with all the newest and not with the lock, each dependency is raised alone, and those are named with which
they fail.
"""

import json
import subprocess
import sys
import tomllib
import venv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".cache" / "newest"
QUICK = "not (process or demo or months or network)"


def dependencies() -> list[Requirement]:
    """What pyproject.toml asks for, with all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [Requirement(line) for line in sum(project["optional-dependencies"].values(), project["dependencies"])]


def _python(*arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
    command = [str(HOME / "bin" / "python"), "-m", *arguments]
    out = subprocess.PIPE if capture else None
    return subprocess.run(command, cwd=ROOT, text=True, stdout=out, check=False)  # noqa: S603


def install(*arguments: str) -> None:
    """Raises SystemExit where pip cannot."""
    if _python("pip", "install", "--quiet", "--disable-pip-version-check", *arguments).returncode:
        raise SystemExit(f"These cannot be installed together: {' '.join(arguments)}")


def versions() -> dict[str, str]:
    """Of all that is installed."""
    listed = _python("pip", "list", "--format=freeze", "--disable-pip-version-check", capture=True).stdout.split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in listed)}


def lock() -> None:
    """Put back what the tests pass with."""
    install("--require-hashes", "--requirement", "requirements.lock")


def failing(tests: Sequence[str]) -> list[str]:
    """Those of the quick tests that fail; tests : files or single tests, none for all."""
    noted = HOME / "pytest" / "v" / "cache" / "lastfailed"
    noted.unlink(missing_ok=True)
    passed = _python("pytest", "-m", QUICK, "-o", f"cache_dir={HOME / 'pytest'}", *tests).returncode == 0
    return [] if passed else list(json.loads(noted.read_text("utf-8")))


def main(tests: Sequence[str]) -> int:
    """Print what is newer than tested, and which of it breaks tests; 1 where any does."""
    venv.create(HOME, with_pip=True, clear=True)
    names = sorted({canonicalize_name(one.name) for one in dependencies()})
    lock()
    tested = versions()
    install("--upgrade", *names)
    newest = versions()
    raised = [name for name in names if newest[name] != tested[name]]
    for name in raised:
        print(f"{name}: {newest[name]}, tested with {tested[name]}", flush=True)
    failed = failing(tests)
    if not failed:
        print("The tests pass with the newest of all.")
        return 0
    lock()
    failed = sorted(set(failed) - set(failing(failed)))
    if not failed:
        print("The tests that fail do so with the tested versions too: it is not for the newest.")
        return 1
    broken = []
    for _, together in groupby(raised, key=lambda name: name.split("-")[0]):  # dagster's packages ask for one another
        lock()
        alone = [f"{name}=={newest[name]}" for name in together]
        install("--upgrade", *alone)
        if failing(failed):
            broken += alone
    print(f"{len(failed)} tests fail with {', '.join(broken) or 'several of them together, and with none alone'}.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
