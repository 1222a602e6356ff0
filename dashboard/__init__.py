"""The pages: they read results from `search` and draw them."""
