"""The mixture as a library: features into arrays, EM, the estimator, the search, candidates. Arrays in, values out."""
