"""Tools for development that drive the dashboard in a browser; not part of the distribution."""
