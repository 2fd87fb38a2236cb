"""Delimited text as people have it: its encoding, its header, its names."""
