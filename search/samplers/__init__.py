"""What to try next: one file for each source of proposals."""
