"""`regen run` takes a table to two champions by the same commands and gates as images, and does not promote what is worse."""

import json
import re
import shutil
import sys

import pandas as pd
import pytest

from tests.conftest import REPOSITORY
from tests.flows.conftest import Ran

TINY = """\
project: transactions
seed: 0
data:
  source: transactions
  simulator: {customers: 60, terminals: 100, days: 80, stolen_a_day: 6, compromised_a_day: 2}
training: {device: cpu, log_every_images: 6400, checkpoint_every_images: 12800}
tables:
  amount: amount
  windows_days: [1, 7]
  vae: {widths: [32], rows: 12800, score_draws: 4, score_reference: 500}
  gan: {width: 32, depth: 1, rows: 12800, batch_size: 128}
evaluation: {bootstrap_draws: 50, alerts_a_day: 3}
gate:
  vae: {primary: anomaly_ap, floors: {anomaly_auc: 0.6}, guards: {column_error: 0.05}}
  gan: {primary: column_shapes, floors: {column_shapes: 0.5, copies: 0.01}, guards: {pair_trends: 0.02}}
"""
CONSUME = """\
import json, sys
sys.meta_path = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
import mlflow, pandas
rows = pandas.read_parquet("data/transactions/rows.parquet").tail(50)
model = mlflow.pyfunc.load_model("models:/transactions-vae@champion")
found = model.predict(rows.drop(columns="fraud"))
again = model.predict(rows.drop(columns="fraud"), params={"history": "data/transactions/rows.parquet"})
made = mlflow.pyfunc.load_model("models:/transactions-gan@champion").predict(
    pandas.DataFrame({"n": [3, 2], "seed": [1, 2], "trade": ["fuel", None]})
)
import regen
print(json.dumps({
    "code": regen.__file__, "columns": list(found.columns), "rows": len(found), "finite": bool(found.anomaly_score.notna().all()),
    "same": bool(abs(found.anomaly_score.iloc[-1] - again.anomaly_score.iloc[-1]) < 1e-9), "top": found.top_columns[0].split(", "),
    "trades": made.trade.tolist(),
}))
"""


@pytest.fixture(scope="module")
def first(new_project) -> Ran:
    """A project of a table after its first run."""
    project = new_project("tables")
    (project.root / "params.yaml").write_text(TINY)
    shutil.copytree(REPOSITORY / "schemas", project.root / "schemas")
    return Ran(project, project.regen("run"))


@pytest.fixture(scope="module")
def harmed(first) -> Ran:
    """A second run whose networks hardly trained."""
    weak = ("--set", "tables.vae.rows=128", "--set", "tables.gan.rows=128")
    return Ran(first.project, first.project.regen("run", *weak))


def evaluation(ran: Ran) -> dict:
    path = ran.project.root / "outputs" / "transactions" / "evaluate" / "evaluation.json"
    return json.loads(path.read_text())


def test_a_table_gets_two_champions_beside_the_figures_of_other_detectors(first):
    assert first.done.returncode == 0, first.done.stderr
    for model in ("transactions-gan", "transactions-vae"):
        assert f"PROMOTE: it is {model}@champion" in first.done.stdout
    assert re.search(r"isolation forest 0\.\d+, ECOD 0\.\d+, kNN 0\.\d+, supervised trees 0\.\d+", first.done.stdout)
    assert not list((first.project.root / "outputs" / "transactions").glob("train_extractor"))


def test_the_report_stands_alone_and_says_what_was_measured(first):
    report = (first.project.root / "outputs" / "transactions" / "evaluate" / "report.html").read_text()
    found = evaluation(first)

    assert not re.search(r"(?:src|href)=[\"'](?!#|data:)|<script|url\(", report)
    assert {"anomaly_ap", "anomaly_precision_top_k", "column_error"} <= set(found["models"]["vae"]["estimates"])
    assert {"column_shapes", "pair_trends", "utility_auc", "copies"} <= set(found["models"]["gan"]["estimates"])
    assert found["weeks"] and found["alerts"]["days"] and len(found["explained"]) == 10


def test_a_second_run_has_nothing_to_do(first):
    again = first.project.regen("run")

    assert again.returncode == 0, again.stderr
    assert "Nothing to do" in again.stdout


def test_rows_are_drawn_as_they_are_asked_for_and_the_same_ones_for_a_seed(first):
    project = first.project
    for out in ("one.csv", "two.csv"):
        drawn = project.regen(
            "sample", "transactions-gan", "--n", "20", "--given", "fraud=1", "--seed", "3", "--out", out
        )
        assert drawn.returncode == 0, drawn.stderr

    one = pd.read_csv(project.root / "one.csv")
    assert len(one) == 20
    assert (one["fraud"] == 1).all()
    assert (project.root / "one.csv").read_bytes() == (project.root / "two.csv").read_bytes()


def test_the_served_models_take_raw_rows_and_give_scores_with_their_columns(first):
    project = first.project
    uri = f"sqlite:///{project.root / 'mlruns' / 'mlflow.db'}"
    done = project.call("env", f"MLFLOW_TRACKING_URI={uri}", "PYTHONPATH=", sys.executable, "-c", CONSUME)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["columns"] == ["anomaly_score", "is_anomaly", "top_columns"]
    assert found["rows"] == 50
    assert found["finite"] and found["same"]
    assert len(found["top"]) == 3
    assert found["trades"][:3] == ["fuel"] * 3
    assert str(project.root) in found["code"]


def test_what_is_worse_is_rejected_and_the_champions_stay(harmed):
    assert harmed.done.returncode == 0, harmed.done.stderr
    verdicts = json.loads((harmed.project.root / "outputs" / "transactions" / "promote" / "verdicts.json").read_text())

    assert verdicts["vae"]["decision"] == "REJECT"
    assert verdicts["gan"]["decision"] in ("HOLD", "REJECT")  # its marginals are calibrated, however little it learnt
    assert all(verdict["against"] == 1 and not verdict["promoted"] for verdict in verdicts.values())
    assert evaluation(harmed)["weeks"][0]["champion"] is not None


def test_a_registered_version_is_scored_anew_beside_another(harmed, regen_json):
    found = regen_json(harmed.project, "evaluate", "transactions-vae/2", "--against", "transactions-vae", "--n", "1000")

    assert found["judged_by"]["n"] == 1000
    assert found["figures"]["column_error"]["word"] == "worse"


def test_raw_rows_of_a_file_are_scored_in_shards_with_flags_and_columns(harmed, regen_json, tmp_path):
    rows = pd.read_parquet(harmed.project.root / "data" / "transactions" / "rows.parquet").tail(90)
    rows.drop(columns="fraud").to_csv(tmp_path / "new.csv", index=False)

    found = regen_json(
        harmed.project, "score", str(tmp_path / "new.csv"), "--model", "transactions-vae@champion",
        "--output", str(tmp_path / "scores.parquet"), "--shard-rows", "40",
    )  # fmt: skip

    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert (found["rows"], found["failed"], found["shards"]) == (90, 0, 3)
    assert scores["is_anomaly"].sum() == found["flagged"]
    assert scores["anomaly_score"].notna().all()
    assert scores["top_columns"].str.count(",").eq(2).all()
    assert set(scores["version"]) == {1}


def test_new_rows_are_taken_in_the_bad_set_aside_and_drift_looked_for(harmed, regen_json, tmp_path):
    path = harmed.project.root / "data" / "transactions" / "rows.parquet"
    new = pd.read_parquet(path).tail(400).assign(transaction=lambda rows: rows["transaction"] + 10_000_000)
    new.loc[new.index[:3], "amount"] = -1.0
    new.to_parquet(tmp_path / "new.parquet")
    before = len(pd.read_parquet(path))

    taken = regen_json(harmed.project, "ingest", str(tmp_path / "new.parquet"))
    watched = regen_json(harmed.project, "monitor", str(tmp_path / "new.parquet"))

    assert (taken["added"], taken["bad"]) == (397, 3)
    assert len(pd.read_parquet(path)) == before + 397
    assert (watched["drift"]["new_rows"], watched["action"]) == (400, "none")
    assert "amount" in [column["name"] for column in watched["drift"]["columns"]]
    assert (harmed.project.root / watched["report"]).is_file()
