"""The arms as SQL are the arms as Python, for any customer, any campaign and any name."""

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segment_pipeline.campaigns.lift import ARMS
from segment_pipeline.campaigns.plans_store import arm_sql, random_place_sql
from segment_pipeline_tests.campaigns.arms_in_python import arm_of, random_segment_of

PIECES = [
    "",
    "'",
    '"',
    "''; DROP TABLE x --",
    "🛒",
    "é",
    "e\u0301",
    "ß",
    " ",
    "\t\n",
    "\\",
    "%s",
    "$1",
    "{}",
    "NULL",
    "0",
]
HOSTILE = [f"{a}{b}{i}{c}" if i else a + b + c for i in range(3) for a in PIECES for b in PIECES for c in PIECES][
    :10_000
]
CAMPAIGNS = ["spring", "o'brien's \"50 %\" 🙂: {x}\\", "", "a:b/segment"]
SHARES = {"matched": 0.61, "random": 0.17, "control": 0.22}


def asked(customer_ids: list[str], *expressions: str) -> list[list]:
    with duckdb.connect() as connection:
        connection.register("given", pa.table({"i": range(len(customer_ids)), "customer_id": customer_ids}))
        return [
            [row[0] for row in connection.execute(f"SELECT {text} FROM given ORDER BY i").fetchall()]
            for text in expressions
        ]


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_sql_and_python_agree_on_ten_thousand_hostile_ids(campaign: str) -> None:
    assert len(HOSTILE) == 10_000
    arms, places = asked(HOSTILE, arm_sql(campaign, SHARES), random_place_sql(campaign))
    assert arms == list(arm_of(HOSTILE, campaign, SHARES))
    drawn = random_segment_of(HOSTILE, campaign, [[7, 1, 30, 2]] * len(HOSTILE))
    assert [[1, 2, 7, 30][place % 4] for place in places] == list(drawn)
    assert set(arms) == set(ARMS)


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=50),
    st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any),
)
@settings(deadline=None, max_examples=40)
def test_sql_and_python_agree_for_any_campaign_customers_and_shares(
    campaign: str, customer_ids: list[str], parts: list[int]
) -> None:
    shares = {arm: part / sum(parts) for arm, part in zip(ARMS, parts, strict=True)}
    (arms,) = asked(customer_ids, arm_sql(campaign, shares))
    assert arms == list(arm_of(customer_ids, campaign, shares))


def test_a_lone_arm_needs_no_draw() -> None:
    alone = {"matched": 1.0, "random": 0.0, "control": 0.0}
    assert asked(["1"], arm_sql("spring", alone)) == [["matched"]]


def test_the_customer_id_may_be_any_expression() -> None:
    assert asked(["a", "b"], arm_sql("spring", SHARES, "upper(customer_id)")) == asked(
        ["A", "B"], arm_sql("spring", SHARES)
    )
