"""Regen keeps generative models fresh in production; this package is the library, which knows nothing of Prefect."""

__version__ = "0.1.0"
