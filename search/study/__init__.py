"""What a person asks: the study file, its space, initial points, results to start from."""
