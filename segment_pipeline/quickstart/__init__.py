"""From a CSV that nobody has described: what its columns are, segments at once, or a project for every month."""
