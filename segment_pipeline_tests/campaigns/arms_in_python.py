"""Who is in which arm by the rule of campaigns/lift.py, customer by customer: what the SQL that assigns is held to."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segment_pipeline.arrays import Texts
from segment_pipeline.campaigns.lift import Arm, arm_limits, segment_salt


def arm_of(customer_ids: Sequence[str], campaign: str, shares: Mapping[Arm, float]) -> Texts:
    """(n,) the arm of each customer: the first whose limit is above the place of the customer's hash."""
    limits = arm_limits(shares)
    drawn = np.searchsorted([limit for _, limit in limits], places_of(customer_ids, campaign), side="right")
    return np.asarray([arm for arm, _ in limits], dtype=np.str_)[drawn]


def random_segment_of(
    customer_ids: Sequence[str], campaign: str, offered: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """(n,) the segment whose action a customer of the random arm gets: uniform among those offered to that customer,
    each with at least one; the order in which they are offered does not matter."""
    places = places_of(customer_ids, segment_salt(campaign))
    chosen = [sorted(set(ids))[place % len(set(ids))] for ids, place in zip(offered, places, strict=True)]
    return np.asarray(chosen, dtype=np.int64)


def places_of(customer_ids: Sequence[str], salt: str) -> NDArray[np.int64]:
    """(n,) the place, 0 to PLACES - 1, of each customer's salted hash."""
    digests = (
        hashlib.md5(f"{salt}:{customer_id}".encode(), usedforsecurity=False).hexdigest() for customer_id in customer_ids
    )
    return np.fromiter((int(digest[:13], 16) for digest in digests), dtype=np.int64)
