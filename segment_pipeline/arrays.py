"""The arrays that this package computes with, by what they hold. The shape stands in each docstring, as (n, d)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
"""Figures: features, probabilities, densities."""

Labels = NDArray[np.intp]
"""A whole number for each row: the component, cluster or segment that it belongs to."""

Flags = NDArray[np.bool_]
"""Yes or no for each row."""

Texts = NDArray[np.str_]
"""Text for each row, such as customer ids."""

Values = NDArray[np.object_]
"""Whatever a column of the source holds."""
