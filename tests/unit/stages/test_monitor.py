"""The monitor: which rows it compares, what it says of them, and when that may start a retraining."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from regen.core.errors import DataError, RegistryError
from regen.data import growth, sources, versions
from regen.evaluation import drift
from regen.evaluation.drift import Drift
from regen.registry import versions as registered
from regen.registry import watch
from regen.registry.tracking import Run
from regen.stages import monitor as module
from regen.stages.base import Context
from regen.stages.monitor import decide, failed_to_start, markdown, monitor
from tests.unit.registry.conftest import log_network

RULES = {"monitor.min_rows": "20", "monitor.max_rows": "100", "monitor.permutations": "299"}


def found(outcome="drift"):
    return Drift(outcome, ("why",), 100, 50)


def test_drift_starts_a_retraining():
    assert decide(found(), None, 24, may_retrain=True) == ("start a retraining", "the data has drifted")


@pytest.mark.parametrize(
    ("outcome", "why"), [("no drift", "there is no drift"), ("too few rows", "there are too few new rows")]
)
def test_without_drift_nothing_starts(outcome, why):
    assert decide(found(outcome), None, 24, may_retrain=True) == ("none", why)


def test_drift_that_may_not_start_anything_is_only_told():
    assert decide(found(), None, 24, may_retrain=False) == ("none", "drift is told and not acted on")


@pytest.mark.parametrize(("hours", "action"), [(23, "none"), (25, "start a retraining")])
def test_drift_starts_no_second_retraining_within_the_cooldown(hours, action):
    last = datetime.now(UTC) - timedelta(hours=hours)

    assert decide(found(), last, 24, may_retrain=True)[0] == action


@pytest.fixture
def context(ready, root, tmp_path) -> Context:
    """A project with untrained champions of the present data."""
    opened = ready(**{name.replace(".", "__"): value for name, value in RULES.items()})
    run = Run.of_key(opened.workspace, "digits", "digits", "key", {})
    for kind in ("vae", "extractor"):
        name = f"digits-{kind}"
        uri = log_network(run, kind, tmp_path / kind)
        version = registered.register(
            name, kind, run, uri, f"key-{kind}", {"regen.data": opened.data_version}, "# card"
        )
        registered.point(version, registered.CHAMPION)
    return opened


def grow(context: Context, images: np.ndarray) -> Context:
    """Takes images into the data as an ingest does."""
    folder, workspace = context.workspace.data("digits"), context.workspace
    manifest = growth.grown(growth.manifest_of(folder), context.data_version, len(images), "test")
    with workspace.lock("data"), versions.replacing(workspace, "digits") as fresh:
        growth.append_images(folder, fresh, images, np.zeros(len(images), np.int64), manifest)
    return Context(workspace, context.config)


def noisy(n: int, *, inverted: bool = False) -> np.ndarray:
    images = sources.digits().images[:: 1797 // n][:n]
    return 255 - images if inverted else np.clip(images.astype(int) + 1, 0, 255).astype(np.uint8)


def test_rows_that_were_taken_in_and_look_otherwise_are_drift(context):
    told = monitor(grow(context, noisy(60, inverted=True)))

    out = context.workspace.outputs("digits") / "monitor"
    plain = json.loads((out / "drift.json").read_text())
    assert (told.drift.outcome, told.drift.new_rows, told.drift.reference_rows) == ("drift", 60, 1797)
    assert told.drift.columns[0].psi > 1
    assert told.drift.features.p_value < 0.01
    assert told.drift.scores is not None
    assert told.action == plain["action"] == "start a retraining"
    assert "The data has drifted" in (out / "drift.html").read_text()
    assert (out / "drift.png").stat().st_size > 1000
    assert "data:image/png;base64," in markdown(told, out)


def test_what_was_found_is_kept_in_mlflow_and_starts_the_cooldown(context):
    grown = grow(context, noisy(60, inverted=True))

    first, second = monitor(grown), monitor(grown)

    record = Run(first.run).data()
    assert record.tags[watch.OUTCOME] == "drift"
    assert record.tags[watch.STARTED] == "started"
    assert record.metrics["drift/psi/brightness"] > 1
    assert json.loads((grown.workspace.outputs("digits") / "monitor" / "drift.json").read_text())["run"] == second.run
    assert second.action == "none"
    assert "drift started a retraining at" in second.why


def test_the_report_names_the_run_the_version_and_the_data(context):
    grown = grow(context, noisy(60, inverted=True))

    told = monitor(grown)

    out = context.workspace.outputs("digits") / "monitor"
    plain, page = json.loads((out / "drift.json").read_text()), (out / "drift.html").read_text()
    assert (plain["run"], plain["champion"]) == (told.run, "digits-vae 1")
    assert (plain["data_version"], plain["looked_at"]) == (context.data_version, grown.data_version)
    for named in ("run", "champion", "data_version", "looked_at"):
        assert f"<code>{plain[named]}</code>" in page


def test_a_report_that_cannot_be_written_starts_no_cooldown(context, monkeypatch):
    grown = grow(context, noisy(60, inverted=True))
    with monkeypatch.context() as around:
        around.setattr(module.drift_report, "write", lambda *given: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="the disk is full"):
            monitor(grown)

    assert watch.last_start(grown.workspace, "digits") is None
    assert monitor(grown).action == "start a retraining"


def test_a_retraining_that_failed_does_not_count_for_the_cooldown(context):
    grown = grow(context, noisy(60, inverted=True))
    failed_to_start(grown, monitor(grown))

    assert monitor(grown).action == "start a retraining"


def test_more_of_the_same_is_no_drift(context):
    told = monitor(grow(context, noisy(200)))

    assert (told.drift.outcome, told.action) == ("no drift", "none")


def test_data_that_has_not_grown_has_too_few_rows(context):
    told = monitor(context)

    assert told.drift.reasons == ("0 new rows, and fewer than 20 (monitor.min_rows) are not judged",)
    assert "Too few new rows to judge" in (context.workspace.root / told.report).read_text()


def test_images_at_a_path_are_looked_at_whatever_their_classes_and_broken_ones_are_counted(context, tmp_path):
    (tmp_path / "new").mkdir()
    for i, image in enumerate(noisy(30, inverted=True)):
        Image.fromarray(image[..., 0]).save(tmp_path / "new" / f"{i}.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"no image")

    told = monitor(context, tmp_path / "new", may_retrain=False)

    assert (told.drift.outcome, told.drift.new_rows, told.unreadable, told.action) == ("drift", 30, 1, "none")


def test_images_none_of_which_can_be_read_are_named(context, tmp_path):
    (tmp_path / "new").mkdir()
    for i in range(25):
        (tmp_path / "new" / f"{i}.png").write_bytes(b"no image")

    with pytest.raises(DataError, match=r"0 of 25 images in .*new can be read, 0\.png: no PNG"):
        monitor(context, tmp_path / "new")


def test_a_table_is_refused_by_a_project_of_images(context, tmp_path):
    (tmp_path / "new.csv").write_text("a\n" + "1\n" * 30)

    with pytest.raises(DataError, match="digits is a project of images, and these rows are a table"):
        monitor(context, tmp_path / "new.csv")


def test_a_champion_of_unknown_data_is_named(context):
    registered.tag(registered.resolve("digits-vae"), {"regen.data": "other.dir"})

    with pytest.raises(
        DataError, match=r"digits-vae 1 was trained on version other\.dir, and \w+\.dir is neither that nor"
    ):
        monitor(context)


def test_a_project_without_a_champion_is_told_what_to_do(ready):
    with pytest.raises(RegistryError, match="digits has no champion to hold new rows against; run 'regen run' first"):
        monitor(ready())


def test_a_project_whose_versions_were_held_is_told_how_one_becomes_the_champion(context):
    for kind in ("vae", "extractor"):
        mlflow.MlflowClient().delete_registered_model_alias(f"digits-{kind}", registered.CHAMPION)

    with pytest.raises(
        RegistryError, match="no champion to hold new rows against; 'regen promote digits-vae 1' makes one"
    ):
        monitor(context)


def test_a_champion_that_gives_no_scores_leaves_them_out(context, monkeypatch):
    monkeypatch.setattr(module, "CHAMPIONS", ("extractor",))

    assert monitor(grow(context, noisy(60))).drift.scores is None


def test_a_large_picture_is_left_to_the_report(context, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURE_BYTES", 10)
    told = monitor(grow(context, noisy(60)))

    assert "base64" not in markdown(told, Path(context.workspace.outputs("digits")) / "monitor")
    assert isinstance(told.drift, drift.Drift)
