"""What movement is worth: beside what is seen, what customers who do not change would show."""
