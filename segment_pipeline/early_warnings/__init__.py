"""Stage 6: churn risk, warnings, and their back-test."""
