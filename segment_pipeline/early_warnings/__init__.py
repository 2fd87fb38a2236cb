"""Churn risk, warnings, and their back-test."""
