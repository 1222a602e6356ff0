"""The benchmark that decides: strategies replayed on recorded trainings."""
