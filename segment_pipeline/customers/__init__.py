"""The data contract, and features transformed and standardised."""
