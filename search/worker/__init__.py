"""One trial from job to outcome, in this process or on any other."""
