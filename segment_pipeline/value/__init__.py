"""What a customer is expected to spend, by whichever method has come nearest."""
