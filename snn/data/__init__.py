"""Images: files read, split into parts, encoded over time."""
