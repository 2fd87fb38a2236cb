"""Stage 2: the data contract, and features transformed and standardised."""
