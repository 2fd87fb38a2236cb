"""Figures that say whether to believe the model, each beside something simpler."""
