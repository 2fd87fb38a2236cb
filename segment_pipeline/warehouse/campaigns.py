"""The arms of a campaign as plain SQL, so that no customer leaves the database.

Here: the expressions. Not here: what the arms mean and how they are measured (segmentation/campaigns.py, which also
says the same in Python; a test holds the two together).
"""

from collections.abc import Mapping, Sequence

from segment_pipeline.config import Campaign
from segment_pipeline.segmentation.campaigns import Arm, arm_limits, segment_limits, segment_salt
from segment_pipeline.warehouse.quoting import literal


def shares_of(campaign: Campaign) -> dict[Arm, float]:
    """The share of customers, 0..1, in each arm."""
    shares = campaign.shares
    return {"matched": shares.matched, "random": shares.random, "control": shares.control}


def arm_sql(campaign: str, shares: Mapping[Arm, float], customer_id_expression: str = "customer_id") -> str:
    """An expression for the customer's arm, VARCHAR: "matched", "random" or "control".

    Sticky for a campaign, independent between campaigns. ValueError on shares that do not add up.
    """
    limits = [(literal(arm), limit) for arm, limit in arm_limits(shares)]
    return _drawn_sql(campaign, limits, customer_id_expression)


def random_segment_sql(campaign: str, segment_ids: Sequence[int], customer_id_expression: str = "customer_id") -> str:
    """An expression for a segment id drawn uniformly from `segment_ids`, INTEGER, independent of the arm."""
    limits = [(str(segment_id), limit) for segment_id, limit in segment_limits(segment_ids)]
    return _drawn_sql(segment_salt(campaign), limits, customer_id_expression)


def _drawn_sql(salt: str, limits: Sequence[tuple[str, int]], customer_id_expression: str) -> str:
    *inner, (last, _) = limits
    if not inner:
        return last
    hashed = f"md5({literal(salt + ':')} || CAST({customer_id_expression} AS VARCHAR))"
    # the first 13 hex digits are 52 bits: exact as a double, and the same on every engine that has md5
    place = f"CAST('0x' || left({hashed}, 13) AS BIGINT)"
    return f"CASE {' '.join(f'WHEN {place} < {limit} THEN {drawn}' for drawn, limit in inner)} ELSE {last} END"
