"""Domination, the archive of non-dominated points, hypervolume, picks."""
