"""A stage's key changes with all that can change its results, and with nothing else."""

import pytest

from regen.core.errors import StaleDataError
from regen.data import versions
from regen.stages import base
from regen.stages.base import AFTER, READS, SEEDLESS
from regen.stages.catalogue import STAGES

ALL = set(READS)
TRAINED = {"train_extractor", "train_vae", "train_gan"}


def keys(context):
    """Every stage's key."""
    return {stage: context.key(stage) for stage in READS}


def changed(before, after):
    """The stages whose keys differ."""
    return {stage for stage in before if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("vae.width", "8", {"train_vae", "evaluate", "register", "promote"}),
        ("gan.images", "64", {"train_gan", "evaluate", "register", "promote"}),
        ("extractor.features", "8", {"train_extractor", "evaluate", "register", "promote"}),
        ("evaluation.bootstrap_draws", "60", {"evaluate", "register", "promote"}),
        ("gate.mode", "dry-run", {"promote"}),
        ("data.test_share", "0.3", ALL),
        ("data.split_seed", "1", ALL),
        ("seed", "1", ALL - set(SEEDLESS)),
        ("extractor.judge", "transformer", {"train_extractor", "evaluate", "register", "promote"}),
        ("training.threads", "2", ALL),
        ("training.devices", "2", ALL),
        ("training.precision", "bf16", ALL),
        ("training.resident_mib", "1", set()),
        ("gan.loss", "ns-r1", {"train_gan", "evaluate", "register", "promote"}),
        ("vae.seconds", "60", {"train_vae", "evaluate", "register", "promote"}),
        ("training.log_every_images", "64", set()),
        ("training.checkpoints_kept", "1", set()),
        ("training.pool", "gpu", set()),
        ("schedule.active", "false", set()),
        ("gate.approval_days", "1", {"promote"}),
    ],
)
def test_a_changed_value_changes_the_stages_that_read_it_and_those_after_them(open_project, key, value, stages):
    before = keys(open_project())

    after = keys(open_project({key: value}))

    assert changed(before, after) == stages


def test_a_changed_library_source_changes_every_key(open_project, monkeypatch):
    before = keys(open_project())

    monkeypatch.setattr(base, "source_digest", lambda: "other sources")

    assert changed(before, keys(open_project())) == ALL


def test_another_torch_changes_every_key(open_project, monkeypatch):
    before = keys(open_project())

    monkeypatch.setattr(base, "version", lambda package: "0.0.1")

    assert changed(before, keys(open_project())) == ALL


def test_another_device_changes_every_key(open_project, monkeypatch):
    before = keys(open_project())

    monkeypatch.setattr(base, "device_class", lambda wanted: "cuda")

    assert changed(before, keys(open_project())) == ALL


def test_a_comment_in_the_project_file_changes_no_key(open_project, root):
    before = keys(open_project())

    path = root / "params.yaml"
    path.write_text("# a remark\n" + path.read_text() + "\n# and another\n")

    assert keys(open_project()) == before


def test_another_projects_data_changes_no_key(open_project, root):
    before = keys(open_project())

    (root / "data" / "other").mkdir()
    (root / "data" / "other" / "rows.csv").write_text("a,b\n1,2\n")
    unrecorded = keys(open_project())
    versions.add(open_project().workspace)

    assert unrecorded == before
    assert keys(open_project()) == before


def test_other_data_of_its_own_changes_every_key(open_project, root):
    before = keys(open_project())

    (root / "data" / "digits" / "notes.txt").write_text("recounted")
    versions.add(open_project().workspace)

    assert changed(before, keys(open_project())) == ALL


def test_data_that_is_not_recorded_has_no_key(open_project, root):
    (root / "data" / "digits" / "labels.npy").write_bytes(b"others")

    with pytest.raises(StaleDataError, match=r"data/digits differs from data\.dvc in labels\.npy"):
        open_project().key("prepare")


def test_no_two_stages_share_a_key(open_project):
    found = keys(open_project())

    assert len(set(found.values())) == len(found)


def test_stages_are_listed_in_an_order_in_which_they_can_run():
    order = list(STAGES)

    assert order == list(READS) == list(AFTER)
    assert all(order.index(before) < order.index(stage) for stage in order for before in AFTER[stage])


def test_keys_of_a_pools_training_are_told_without_its_device(open_project):
    here, there = open_project(), open_project({"training.pool": "gpu", "training.device": "cuda:1"})

    assert there.device == "cuda"
    assert changed(keys(here), keys(there)) == ALL


def test_builds_of_torch_for_other_devices_share_their_keys(open_project, monkeypatch):
    before = keys(open_project())

    monkeypatch.setattr(base, "version", lambda name: "2.13.0+cu130")

    assert changed(before, keys(open_project())) == set()
