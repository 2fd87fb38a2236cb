"""Customers who are forgotten, or who are the same person as another: what the source must not bring back."""
