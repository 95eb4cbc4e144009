"""One loop a model that reads as its algorithm, over a small engine that reports, saves and resumes."""
