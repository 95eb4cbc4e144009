"""The review page and its API, the only part that knows the web framework."""
