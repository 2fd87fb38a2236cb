"""Four Gaussian groups whose covariances are spherical, diagonal, tied or full: does a list of the four types find the
type and the number, and from how many customers on, beside full covariances alone?

Without memory; k = 2 to 6, what the pipeline takes. `python covariances.py`; four minutes on one core.
"""

import time
from collections.abc import Sequence

import numpy as np
from real_months import record

from segment_pipeline.config.model import ModelSettings
from segment_pipeline.mixture.candidates import Candidate, adjusted_rand_index, fit_candidates
from segment_pipeline.mixture.covariances import COVARIANCE_TYPES, CovarianceType
from segment_pipeline.models.selection import choose, examined_in_turn
from segment_pipeline_tests.shaped_groups import FEATURES, SHARES, customers_of, groups_of

CUSTOMERS, DRAWS, SIZES = (150, 300, 600, 1200), 10, range(2, 7)


def taken(Z: np.ndarray, types: Sequence[CovarianceType], seed: int) -> tuple[Candidate | None, float]:
    """What the pipeline takes, and the seconds of the search."""
    began = time.process_time()
    candidates = fit_candidates(Z, SIZES, variance_floor=np.full(Z.shape[1], 1e-3), seed=seed, covariance_types=types)
    settings = ModelSettings()
    choice = choose(examined_in_turn(candidates, settings), settings).candidate
    return choice, time.process_time() - began


def main() -> None:
    rows = []
    for truth_type in COVARIANCE_TYPES[::-1]:
        for n in CUSTOMERS:
            found = {"list": [], "full": []}  # type: dict[str, list[tuple[bool, bool, float, float]]]
            for draw in range(DRAWS):
                truth, Z = customers_of(groups_of(truth_type, draw), n, draw)
                for name, types in (("list", COVARIANCE_TYPES), ("full", COVARIANCE_TYPES[:1])):
                    choice, seconds = taken(Z, types, draw)
                    if choice is None:
                        found[name].append((False, False, 0.0, seconds))
                        continue
                    labels = choice.mixture.log_joint(Z).argmax(axis=1)
                    agree = adjusted_rand_index(labels, truth)
                    right = choice.n_segments == len(SHARES)
                    found[name].append((choice.covariance_type == truth_type, right, agree, seconds))
            of_list, alone = (np.array(found[name]) for name in ("list", "full"))
            rows.append(
                (
                    truth_type,
                    f"{n:,}",
                    f"{int(of_list[:, 0].sum())} of {DRAWS}",
                    f"{int(of_list[:, 1].sum())} of {DRAWS}",
                    f"{int(alone[:, 1].sum())} of {DRAWS}",
                    f"{of_list[:, 2].mean():.2f}",
                    f"{alone[:, 2].mean():.2f}",
                    f"{of_list[:, 3].sum() / alone[:, 3].sum():.1f}",
                )
            )
            print(*rows[-1], flush=True)
    heads = ("groups", "customers", "right type", "right number", "full alone", "agreement", "full alone", "time")
    record("covariances", f"{FEATURES} features, shares {SHARES.tolist()}", heads, rows)


if __name__ == "__main__":
    main()
