"""Early stopping: one file for each pruner."""
