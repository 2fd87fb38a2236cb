"""What movement is worth: what is expected of the months ahead, and how it came out."""
