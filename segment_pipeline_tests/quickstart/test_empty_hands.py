"""Nobody leaves quickstart with empty hands: where no mixture is sound, the simplest segmentation that is."""

import csv
from pathlib import Path

import numpy as np
import pytest

from segment_pipeline.cli.main import main


def table(path: Path, columns: dict[str, object]) -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        rows.writerows(zip(*columns.values(), strict=True))  # type: ignore[call-overload]
    return path


def by_rule(folder: Path) -> list[dict[str, str]]:
    with (folder / "customers_by_rule.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_sixty_customers_get_groups_by_rule_and_are_told_why(in_folder: Path, capsys: pytest.CaptureFixture[str]):
    random = np.random.default_rng(1)
    visits = random.poisson(6, 60)
    file = table(
        in_folder / "few.csv",
        {"customer_id": [f"c{i}" for i in range(60)], "visits": visits, "spend": random.lognormal(3, 1, 60).round(2)},
    )
    assert main(["quickstart", str(file)]) == 0
    said = capsys.readouterr().out
    assert "has 60 customers; a mixture needs at least 100" in said
    assert "groups by rule" in said
    rows = by_rule(in_folder / "few_segments")
    assert [row["customer_id"] for row in rows] == [f"c{i}" for i in range(60)]
    assert all(row["segment"] for row in rows)
    assert [float(row["visits"]) for row in rows] == visits.tolist()
    # and once more over what it left
    assert main(["quickstart", str(file)]) == 0


def test_who_has_no_id_or_that_of_another_is_in_no_group(in_folder: Path):
    random = np.random.default_rng(4)
    ids = [f"c{i}" for i in range(60)]
    ids[3], ids[8] = "", ids[7]
    file = table(in_folder / "ids.csv", {"customer_id": ids, "visits": random.poisson(6, 60)})
    assert main(["quickstart", str(file), "--customer-id", "customer_id"]) == 0
    without = [place for place, row in enumerate(by_rule(in_folder / "ids_segments")) if not row["segment"]]
    assert without == [3, 7, 8]


def test_one_feature_is_enough_for_two_groups(in_folder: Path, capsys: pytest.CaptureFixture[str]):
    random = np.random.default_rng(2)
    file = table(in_folder / "one.csv", {"customer_id": range(300), "visits": random.poisson(6, 300)})
    assert main(["quickstart", str(file)]) == 0
    assert "one feature to segment by" in capsys.readouterr().out
    assert {row["segment"] for row in by_rule(in_folder / "one_segments")} == {"High visits", "Low visits"}


def test_where_nothing_differs_nothing_is_invented(in_folder: Path, capsys: pytest.CaptureFixture[str]):
    file = table(in_folder / "same.csv", {"customer_id": range(300), "visits": [3] * 300})
    assert main(["quickstart", str(file)]) == 2
    assert "it is 3 for every customer" in capsys.readouterr().err


def test_customers_of_one_kind_are_told_so_and_cut(in_folder: Path, commands):
    random = np.random.default_rng(3)
    file = table(
        in_folder / "noise.csv",
        {
            "customer_id": range(1500),
            "visit_days": random.normal(50, 10, 1500).round(1),
            "spend": random.normal(100, 20, 1500).round(2),
        },
    )
    ended = commands.start("quickstart", str(file), "--out", str(in_folder / "noise_segments")).wait()
    assert ended.code == 0, ended
    said = ended.out
    assert "all its components together describe one group" in said
    assert "--segments 2..3" not in said
    sizes = np.unique([row["segment"] for row in by_rule(in_folder / "noise_segments")], return_counts=True)[1]
    assert len(sizes) == 4
    assert sizes.min() > 300
