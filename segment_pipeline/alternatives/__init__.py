"""What else would segment these customers, and whether a mixture is right for them."""
