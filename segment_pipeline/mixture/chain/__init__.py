"""The mixture with memory: panels of months, the transition matrix, forward-backward EM, the estimator, candidates."""
