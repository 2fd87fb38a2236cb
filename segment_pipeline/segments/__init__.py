"""Assignments, profiles, transitions, journeys and drift."""
