"""Nobody leaves quickstart with empty hands: where no mixture is sound, the simplest segmentation that is."""

import csv
import re
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.cli.main import main
from segment_pipeline.quickstart.plan import explore
from segment_pipeline.quickstart.request import Request


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


def test_one_column_alone_is_told_and_nothing_is_named_that_is_not_there(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
):
    ids, spend = [f"c{i}" for i in range(300)], np.random.default_rng(1).lognormal(3, 1, 300).round(2)
    assert main(["quickstart", str(table(in_folder / "one.csv", {"customer_id": ids, "spend": spend}))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "has one feature to segment by; a mixture needs at least 2. Add columns that tell customers apart." in said
    assert "Left out" not in said

    with_state = {"customer_id": ids, "spend": spend, "same": [1] * 300}
    assert main(["quickstart", str(table(in_folder / "two.csv", with_state))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Left out: same:" in said
    assert "apart; or insist on some of these with --features A,B." in said


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


def test_a_shop_in_which_nobody_came_back_gets_groups_by_rule(in_folder: Path, capsys: pytest.CaptureFixture[str]):
    random = np.random.default_rng(6)
    days = random.integers(1, 29, 600)
    file = table(
        in_folder / "once.csv",
        {
            "order_id": range(600),
            "customer_id": [f"c{i}" for i in range(600)],
            "order_date": [f"2024-{1 + i % 6:02}-{day:02}" for i, day in enumerate(days)],
            "amount": random.lognormal(3, 0.6, 600).round(2),
        },
    )
    assert main(["quickstart", str(file)]) == 0
    assert "every customer has one order only" in capsys.readouterr().out
    assert {row["segment"] for row in by_rule(in_folder / "once_segments")} == {
        "Recent, high spend",
        "Recent, low spend",
        "Quiet, high spend",
        "Quiet, low spend",
    }
    assert main(["init", str(in_folder / "project"), "--from", str(file)]) == 2
    assert "every customer has one order only" in capsys.readouterr().err


@pytest.mark.parametrize("monthly", [False, True])
def test_a_feature_whose_zeros_spoil_every_mixture_is_left_out_before_a_month_runs(in_folder: Path, monthly: bool):
    random = np.random.default_rng(7)
    online = (1 / (1 + np.exp(-random.normal(0, 0.5, 1500)))).round(3)
    online[random.permutation(1500)[:58]] = 0
    file = table(
        in_folder / "spiky.csv",
        {
            "customer_id": range(1500),
            "recency_days": np.ceil(np.exp(3 + 0.8 * random.normal(size=1500))),
            "visits": np.ceil(np.exp(2.5 + 0.5 * random.normal(size=1500))),
            "share_online": online,
        },
    )
    proposed = explore(duckdb.connect(), Request(file, in_folder / "out"), monthly=monthly).proposal
    assert [one.name for one in proposed.features] == ["recency_days", "visits"]
    assert proposed.left_out[0].reason.startswith("3.9 % of the customers have 0, and with it no mixture is sound")
    asked = Request(file, in_folder / "out", features=["recency_days", "visits", "share_online"])
    assert len(explore(duckdb.connect(), asked, monthly=monthly).proposal.features) == 3


@pytest.mark.parametrize("monthly", [False, True])
def test_of_a_subscription_shop_no_feature_of_a_handful_of_values_is_chosen_for_what_it_is_not(
    in_folder: Path, monthly: bool
):
    """Everybody is billed on the 1st, at one of three prices: what most have the same of is left out and named."""
    random = np.random.default_rng(8)
    lines = [
        (f"s{who}", f"2025-{month:02}-01", (9.99, 19.99, 49.99)[plan])
        for who, (plan, since, until) in enumerate(
            zip(random.integers(0, 3, 900), random.integers(1, 9, 900), random.integers(9, 20, 900), strict=True)
        )
        for month in range(since, min(until, 12) + 1)
    ]
    customers, days, amounts = zip(*lines, strict=True)
    file = table(
        in_folder / "invoices.csv",
        {"customer_id": customers, "invoice_id": range(len(lines)), "invoice_date": days, "amount": amounts},
    )
    proposed = explore(duckdb.connect(), Request(file, in_folder / "out"), monthly=monthly).proposal
    left = {one.name: one.reason for one in proposed.left_out}
    assert re.search(r"\d+ % of the customers have 30", left["days_since_last_order"])
    assert len(proposed.features) >= 2


def test_a_project_is_a_folder_and_a_file_is_what_it_reads(in_folder: Path, capsys: pytest.CaptureFixture[str]):
    (in_folder / "orders.csv").write_text("customer,order\n")
    assert main(["init", "orders.csv"]) == 2
    assert "segment-pipeline init DIR --from orders.csv" in capsys.readouterr().err
    assert [path.name for path in in_folder.iterdir()] == ["orders.csv"]


def test_a_feature_with_which_searches_disagree_is_left_out_and_the_month_tried_again(in_folder: Path, commands):
    """Around a ring two segments may begin anywhere; one of its coordinates alone has two ends."""
    random = np.random.default_rng(6)
    angle, group = random.uniform(0, 2 * np.pi, 1500), random.integers(0, 2, 1500)
    file = table(
        in_folder / "ring.csv",
        {
            "customer_id": [f"c{i}" for i in range(1500)],
            "east": (np.cos(angle) + random.normal(0, 0.05, 1500)).round(4),
            "north": (np.sin(angle) + random.normal(0, 0.05, 1500)).round(4),
            "taste": (1.6 * group + random.normal(0, 0.5, 1500)).round(4),
        },
    )
    searched = ["--segments", "2..2", "--covariance", "full"]
    ended = commands.start("quickstart", str(file), "--out", str(in_folder / "ring_segments"), *searched).wait()
    assert ended.code == 0, ended
    said = ended.out
    assert "independent searches disagree (1)" in said
    once_more = said[said.index("Once more, without what keeps searches from agreeing") :]
    assert re.search(r"(east|north): with it no mixture is sound: independent searches for 2 segments agree", once_more)
    assert "groups by rule" not in said
    with duckdb.connect(str(in_folder / "ring_segments" / "segments.duckdb"), read_only=True) as published:
        query = "SELECT count(DISTINCT customer_id) FROM monthly_assignments"
        assert published.execute(query).fetchall() == [(1500,)]
    asked = Request(file, in_folder / "out", features=["taste", "east", "north"], segments=(2, 2))
    assert len(explore(duckdb.connect(), asked, searches=3).proposal.features) == 3
