"""Tracking, packaging, versions and promotion in MLflow; nothing else imports it."""
