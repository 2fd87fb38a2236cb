"""The user's files, as one row per customer."""
