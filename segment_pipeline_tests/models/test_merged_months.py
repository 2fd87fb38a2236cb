"""Months of customers in three log-normal groups through all the assets: segments of several components are one in
every table, with memory and without."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from segment_pipeline.arrays import Labels
from segment_pipeline.mixture.candidates import adjusted_rand_index
from segment_pipeline.models.model import SegmentModel
from segment_pipeline_tests.shop import Shop, query
from segment_pipeline_tests.skewed_groups import SHARES, skewed_groups

MONTHS = ("2023-03", "2023-04", "2023-05", "2023-06")
CUSTOMERS = 900

CONFIG = """\
name: skewed
first_month: 2023-03
last_month: 2023-06
source: {snapshots: {path: "{month}.csv", customer_id: id}}
features:
  - {name: visits, resolution: 0.001}
  - {name: spend, resolution: 0.001}
  - {name: breadth, resolution: 0.001}
quality: {outlier_sd: 12}
"""


def write_months(folder: Path) -> list[Labels]:
    """A file for each month; returns the group of each customer, which one in fifty leaves in a month."""
    random = np.random.default_rng(5)
    truth = random.choice(len(SHARES), CUSTOMERS, p=SHARES)
    truths = []
    for seed, month in enumerate(MONTHS):
        _, X = skewed_groups(CUSTOMERS, "log-normal", 90 + seed, truth)
        lines = [f"c{i:05d},{','.join(f'{x:.3f}' for x in row)}" for i, row in enumerate(X)]
        (folder / f"{month}.csv").write_text("\n".join(["id,visits,spend,breadth", *lines]) + "\n")
        truths.append(truth)
        truth = np.where(random.random(CUSTOMERS) < 0.02, random.choice(len(SHARES), CUSTOMERS, p=SHARES), truth)
    return truths


def agreement(shop: Shop, month: str, truth: Labels) -> float:
    found = query(
        shop.published,
        f"SELECT customer_id, segment_id FROM monthly_assignments WHERE month = '{month}-01' ORDER BY customer_id",
    )
    return adjusted_rand_index(np.array([row[1] for row in found]), truth[[int(row[0][1:]) for row in found]])


def apart(shop: Shop, month: str) -> float:
    """By how much the published macro, which scores with the latest model, differs from the month's memberships; of
    customers who are new, where the model has a memory: their first month's."""
    with duckdb.connect(str(shop.published), read_only=True) as connection:
        connection.execute(f"ATTACH '{shop.warehouse}' AS warehouse (READ_ONLY)")
        connection.execute(
            f"CREATE TEMP TABLE customers AS SELECT * FROM warehouse.validated_features WHERE month = '{month}-01'"
        )
        scored = connection.execute("SELECT probabilities FROM score(customers) ORDER BY customer_id").fetchall()
        text = connection.execute("SELECT parameters FROM model_versions ORDER BY model_version DESC").fetchone()
        assert text is not None
        model = SegmentModel.from_json(text[0])
        listed = ", ".join(model.space.names)
        X = np.array(connection.execute(f"SELECT {listed} FROM customers ORDER BY customer_id").fetchall())
    prior = None if model.memory is None else np.tile(model.memory.new, (len(X), 1))
    return float(np.abs(np.array([row[0] for row in scored]) - model.responsibilities(X, prior=prior)).max())


@pytest.mark.months
@pytest.mark.parametrize("memory", [False, True])
def test_every_table_knows_a_segment_of_several_components_as_one(
    tmp_path: Path, materialize: Callable[..., object], memory: bool
) -> None:
    truths = write_months(tmp_path)
    shop = Shop(tmp_path)
    shop.config_path.write_text(CONFIG + f"model: {{memory: {str(memory).lower()}, n_components: [3, 6]}}\n")
    for month in MONTHS:
        materialize(shop, month)

    versions = query(shop.published, "SELECT n_components, n_segments, parameters FROM model_versions ORDER BY 1")
    assert all(segments == 3 < components for components, segments, _ in versions)
    last = SegmentModel.from_json(
        query(shop.published, "SELECT parameters FROM model_versions ORDER BY model_version")[-1][0]
    )
    assert (last.memory is not None) == memory
    for month, truth in zip(MONTHS, truths, strict=True):
        assert agreement(shop, month, truth) > 0.5

    for table, listed in (("monthly_assignments", "probabilities"), ("monthly_assignments", "segment_ids")):
        assert query(shop.published, f"SELECT DISTINCT len({listed}) FROM {table}") == [(3,)]
    for table in ("segment_profiles", "segment_lineage"):
        assert query(shop.published, f"SELECT count(DISTINCT segment_id) FROM {table}")[0][0] >= 3
    assert query(shop.published, "SELECT count(*) FROM segment_profiles WHERE month = '2023-06-01'") == [(3,)]
    if memory:
        states = query(shop.warehouse, "SELECT DISTINCT len(probabilities) FROM memory_states")
        assert states == [(4,)]
        assert query(shop.published, "SELECT count(*) FROM segment_dynamics WHERE month = '2023-05-01'") == [(16,)]
    (chosen,) = query(
        shop.published, "SELECT n_components, n_segments FROM candidate_models WHERE month = '2023-03-01' AND selected"
    )
    assert chosen[0] > chosen[1] == 3
    assert apart(shop, MONTHS[0]) < 1e-9
    assert "components, of which some together" in query(shop.published, "SELECT rationale FROM model_versions")[0][0]
