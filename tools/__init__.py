"""What makes the pages and pictures of docs/ from the code and the demo. Not part of the wheel."""
