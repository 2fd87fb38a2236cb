"""The whole search for k = 2..10 on CDNOW's customers of the nine months before October 1997, against scikit-learn.

First the plain likelihood, both with variances of at least 1e-6 and both allowed the spikes that it rewards: here the
counts of orders are atoms. Then with resolution floor and prior, as the pipeline fits, against scikit-learn started
from our answer: features in units of their floors, where its `reg_covar` = 1 is that floor.
"""

import argparse
import warnings
from datetime import date

import numpy as np
from datasets import cdnow_features, cdnow_space
from search_vs_sklearn import COMPONENTS, race
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from segment_pipeline.mixture.candidates import search_mixtures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1)
    repeats = parser.parse_args().repeats
    X = cdnow_features(date(1997, 10, 1))
    space = cdnow_space(X)
    Z = space.transform(X)
    race(Z, repeats, 25, prior=None, variance_floor=1e-6, shun_spikes=False)

    print("with floor and prior, and scikit-learn started from our answer:")
    in_floors = Z / np.sqrt(space.variance_floor)
    worst = -np.inf
    for found in search_mixtures(in_floors, COMPONENTS, random_state=0, variance_floor=1.0):
        model = found.model
        theirs = GaussianMixture(
            found.n_components,
            reg_covar=1.0,
            tol=1e-6,
            max_iter=300,
            weights_init=model.weights_,
            means_init=model.means_,
            precisions_init=np.linalg.inv(model.covariances_),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            difference = found.bic - theirs.fit(in_floors).bic(in_floors)
        worst = max(worst, difference)
        verdict = ", degenerate" if found.degenerate else ""
        print(f"  k = {found.n_components:2d}  BIC {found.bic:12,.1f}  ours - theirs {difference:+10,.2f}{verdict}")
    print(f"  BIC no worse at every k: {'yes' if worst <= 0.01 else 'NO'}")


if __name__ == "__main__":
    main()
