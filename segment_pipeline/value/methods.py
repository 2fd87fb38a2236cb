"""By what spend is forecast, and how far ahead: names only, for tables and whoever loads the code location."""

HORIZONS = (3, 12)
"""Months ahead."""

OWN_WINDOW = "own_window"

METHODS = {
    "bg_nbd": "BG/NBD and Gamma-Gamma",
    OWN_WINDOW: "own last window",
    "chain": "the segments' chain",
    "blend": "half BG/NBD, half own last window",
}
"""The methods by name, with what they are in words: purchases expected by BG/NBD times their worth by Gamma-Gamma; what
the customer spent in its last window, by the month; what the segments it is expected in spend; the mean of the first
two, the second of them brought to the total of the first. The halves are not tuned."""
