"""Stores beside the published file, filled from it."""
