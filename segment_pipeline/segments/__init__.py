"""Stage 4: assignments, profiles, transitions, journeys and drift."""
