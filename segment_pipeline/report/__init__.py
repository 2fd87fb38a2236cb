"""The page that a marketer opens, made from the published file and nothing else."""
