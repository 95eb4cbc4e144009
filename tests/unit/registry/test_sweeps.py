"""Trials of sweeps in MLflow: what has been measured is found again, and what came out as no number is not."""

from math import nan

import pytest

from regen.registry import sweeps


@pytest.mark.parametrize(("value", "wanted"), [(0.5, (0.5, 0.5, 0.5)), (nan, None)], ids=["a number", "no number"])
def test_a_trial_is_found_again_if_its_figure_is_a_number(store, value, wanted):
    parent = sweeps.open_sweep(store.workspace, "digits", "sweep", f"sweep-{value}", {})
    trial = sweeps.open_trial(store.workspace, "digits", parent, "trial", f"trial-{value}", {})
    sweeps.record(trial, "anomaly_auc", (value, value, value))
    trial.close()

    assert sweeps.finished(store.workspace, "digits", f"trial-{value}", "anomaly_auc") == wanted
