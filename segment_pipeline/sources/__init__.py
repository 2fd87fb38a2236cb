"""Stage 1: the user's files, as one row per customer."""
