"""Stage 11: the page that a marketer opens, made from the published file and nothing else."""
