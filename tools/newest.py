"""The newest release of every dependency, bounds or not, and the quick tests on them: what a bound is to be moved for.

The bounds of pyproject.toml end before what nobody has tried, and requirements.lock is what the tests pass with. Run
this now and then (`make newest`): it makes an environment of its own in .cache/newest and takes some minutes. Where the
tests fail, each dependency is raised alone, and those are named with which they fail.
"""

import subprocess
import sys
import tomllib
import venv
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


def _python(*arguments: str, **options: bool) -> "subprocess.CompletedProcess[str]":
    command = [str(HOME / "bin" / "python"), "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]  # noqa: S603


def install(*arguments: str) -> None:
    """Raises SystemExit where pip cannot."""
    if _python("pip", "install", "--quiet", "--disable-pip-version-check", *arguments).returncode:
        raise SystemExit(f"These cannot be installed together: {' '.join(arguments)}")


def versions() -> dict[str, str]:
    """Of all that is installed."""
    found = _python("pip", "list", "--format=freeze", "--disable-pip-version-check", capture_output=True).stdout
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in found.split()}


def passes(*chosen: str) -> bool:
    """Whether the quick tests do; chosen : options of pytest."""
    return _python("pytest", "-m", QUICK, *chosen).returncode == 0


def main(chosen: list[str]) -> int:
    """chosen : options of pytest, such as the tests to be run instead of all the quick ones."""
    venv.create(HOME, with_pip=True, clear=True)
    names = sorted(canonicalize_name(one.name) for one in dependencies())
    install("--require-hashes", "--requirement", "requirements.lock")
    tested = versions()
    install("--upgrade", *names)
    newest = versions()
    raised = [name for name in names if newest[name] != tested[name]]
    for name in raised:
        print(f"{name}: {newest[name]}, tested with {tested[name]}", flush=True)
    if passes(*chosen):
        print("The tests pass with the newest of all.")
        return 0
    broken = []
    for name in raised:
        install("--require-hashes", "--requirement", "requirements.lock")
        install("--upgrade", f"{name}=={newest[name]}")
        if not passes("--last-failed", *chosen):
            broken.append(f"{name} {newest[name]}")
    print(f"The tests fail with {', '.join(broken) or 'several of them together, and with none alone'}.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
