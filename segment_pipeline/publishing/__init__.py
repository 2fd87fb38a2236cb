"""The file that SQL consumers read, its dictionary, exports, and the model as SQL."""
