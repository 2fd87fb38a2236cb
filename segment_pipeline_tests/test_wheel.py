"""The wheel holds everything that an installed pipeline needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.process
def test_a_wheel_builds_installs_and_answers(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path / "dist"), str(REPOSITORY)]
    subprocess.run([*pip, *build], check=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)], check=True, timeout=120
    )

    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    ask = "import segment_pipeline, segment_pipeline.cli.main; print(segment_pipeline.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path / "site")
    assert (tmp_path / "site" / "segment_pipeline" / "orchestration" / "dagster.yaml").exists()
    version = subprocess.run(
        [sys.executable, "-m", "segment_pipeline.cli.main", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.startswith("segment-pipeline ")
