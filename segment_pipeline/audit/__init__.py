"""The segments that a company already uses, and customers who fit no segment."""
