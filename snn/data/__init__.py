"""Images: read from files, split into training and validation, encoded over time."""
