"""The methods beside which the champion is put. Here: names only, in the order in which people see them. Not here: what
each does (alternatives.py)."""

METHODS = ("champion", "k_means", "ward", "dbscan", "hdbscan", "latent_classes", "rfm_quintiles")
"""The user's own rules come after them."""
