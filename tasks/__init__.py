"""Thin Prefect tasks, one file a stage: each calls its stage in `regen.stages` and says how it is retried."""
