"""Measures: pure functions from arrays to figures, their intervals, the gate that judges by them, and the report."""
