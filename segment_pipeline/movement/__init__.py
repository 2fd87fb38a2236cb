"""What movement is worth: what chance alone would show, what is expected of the months ahead, and how it came out."""
