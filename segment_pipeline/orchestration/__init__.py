"""Dagster: partitions, resources, checks, jobs, sensors. Which assets there are is the stages' business."""
