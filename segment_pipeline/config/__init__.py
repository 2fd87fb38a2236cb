"""The user's file: one contract, a module for each part of it, and the rules across them in config.py."""
