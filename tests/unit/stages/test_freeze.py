"""The extractor is trained, tried and registered once for its spec, and used from then on."""

import json
import shutil

import numpy as np
import pytest

from regen.core.errors import EvaluationError, RegistryError
from regen.data import versions as data_versions
from regen.evaluation import admission
from regen.models import storage
from regen.registry import packaging, tracking, versions
from regen.stages import freeze, prepare, train
from regen.stages.decide import promote_by_hand
from regen.stages.sample import sample_images
from tests.unit.registry.conftest import use_store
from tests.unit.stages.conftest import make_ready

NAME = "digits-extractor"


def weights(context):
    """The bytes of both judges."""
    out = context.results("train_extractor")
    return {name: (out / f"{name}.safetensors").read_bytes() for name in ("extractor", "judge")}


@pytest.fixture(scope="module")
def made(recorded, database, tmp_path_factory):
    """A project whose extractor is trained and registered, once for the tests that only look at it."""
    root = tmp_path_factory.mktemp("made") / "project"
    shutil.copytree(recorded, root, symlinks=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        context = make_ready(root, monkeypatch, database)
        train.train(context, "extractor")
    return context


@pytest.fixture
def frozen(made, monkeypatch):
    """That project, with this process pointed at its store."""
    monkeypatch.chdir(made.workspace.root)
    use_store(made.workspace, monkeypatch)
    return made


@pytest.fixture
def trained(ready):
    """A project whose extractor is trained and registered, of this test's own."""
    context = ready()
    train.train(context, "extractor")
    return context


def test_an_admitted_extractor_is_registered_with_all_that_says_what_it_is(frozen):
    out = frozen.results("train_extractor")

    version = versions.by_alias(NAME, versions.CHAMPION)

    assert (version.number, version.kind, version.verdict) == (1, "extractor", "admitted")
    assert version.tags["regen.sha256"] == freeze.record(frozen)["sha256"]
    assert (version.tags["regen.dim"], version.tags["regen.input"]) == ("16", "uint8 n×8×8×1")
    assert (version.tags["regen.classes"], version.tags["regen.resize"]) == ("10", "native")
    assert 0 <= float(version.tags["regen.accuracy"]) <= 1
    assert "rising noise gives" in version.tags["regen.self_tests"]
    found = json.loads((out / "admission.json").read_text())
    assert all(ladder["in_order"] for ladder in found["extractor"]["ladders"])
    assert set(found) == {"extractor", "judge"}


def test_its_card_shows_the_self_tests(frozen):
    import mlflow

    card = mlflow.MlflowClient().get_model_version(NAME, "1").description

    assert "| dropped classes 0, 1, 2, 5 |" in card
    assert "a network of another architecture (mlp)" in card


def test_the_second_judge_is_another_architecture_with_as_many_features(frozen):
    extractor, judge = (storage.load(frozen.results("train_extractor"), name) for name in ("extractor", "judge"))

    assert type(extractor.body) is not type(judge.body)
    assert extractor.classifier.in_features == judge.classifier.in_features
    run = tracking.Run.of_key(frozen.workspace, "digits", "any", frozen.key("train_extractor"), {})
    assert {"train/accuracy", "train/judge_accuracy"} <= set(run.data().metrics)


@pytest.mark.parametrize("change", ["data", "sources", "seed"])
def test_what_does_not_change_its_space_leaves_it_as_it_is(trained, ready, root, monkeypatch, change):
    before = weights(trained)
    if change == "data":
        (root / "data" / "digits" / "notes.txt").write_text("recounted")
        data_versions.add(trained.workspace)
    elif change == "sources":
        monkeypatch.setattr("regen.stages.base.source_digest", lambda: "other sources")
    context = ready(seed="1") if change == "seed" else ready()
    monkeypatch.setattr(train, "_train_here", lambda *arguments: pytest.fail("it was trained again"))

    outcome = train.train(context, "extractor")

    assert outcome.reused == (change == "seed")
    assert weights(context) == before
    assert freeze.record(context) == freeze.record(trained)
    first, again = (c.results("train_extractor") for c in (trained, context))
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}
    assert [version.number for version in versions.all_versions(NAME)] == [1]


@pytest.mark.parametrize(
    "change", [{"extractor__width": "4"}, {"data__split_seed": "1"}, {"data__extractor_share": "0.3"}]
)
def test_what_changes_its_space_or_its_rows_makes_a_new_version_and_going_back_the_old_one(trained, ready, change):
    context = ready(**change)
    train.train(context, "extractor")
    changed = versions.by_alias(NAME, versions.CHAMPION).number

    back = ready()
    train.train(back, "extractor")

    assert changed == 2
    assert versions.by_alias(NAME, versions.CHAMPION).number == 1
    assert weights(back) == weights(trained) != weights(context)


def test_rows_that_it_has_seen_are_no_test_rows_under_any_spec_that_keeps_it(ready):
    before = ready()
    spec = freeze.spec(before, prepare.dataset(before))
    seen = {image.tobytes() for image in prepare.dataset(before).pixels("extractor")}

    for change in ({"seed": "5"}, {"data__test_share": "0.4"}, {"data__validation_share": "0.2"}):
        dataset = prepare.dataset(context := ready(**change))

        assert freeze.spec(context, dataset) == spec
        for split in ("train", "validation", "test"):
            assert not seen & {image.tobytes() for image in dataset.pixels(split)}


def test_an_extractor_that_fails_its_self_tests_is_not_registered(ready, monkeypatch):
    import mlflow

    context = ready()
    monkeypatch.setattr(
        admission, "NOISE", (1 / 2, 1 / 16)
    )  # noise that falls, so that no extractor can climb the ladder

    with pytest.raises(
        EvaluationError, match=r"not fit to judge: rising noise gives .*raise extractor\.images, now 640"
    ):
        train.train(context, "extractor")

    assert versions.all_versions(NAME) == []
    assert not context.folder("train_extractor").is_done()
    run = tracking.Run.of_key(context.workspace, "digits", "any", context.key("train_extractor"), {})
    assert mlflow.MlflowClient().get_run(run.id).info.status == "FAILED"


def test_a_judge_that_fails_its_self_tests_is_told_and_blocks_nothing(ready, shown, monkeypatch):
    examine = freeze.examine

    def weak_judge(folder, name, dataset, seed):
        found = examine(folder, name, dataset, seed)
        fallen = tuple(admission.Ladder(one.name, one.levels, one.distances[::-1]) for one in found.ladders)
        return found if name == "extractor" else admission.Admission(found.floor, found.rows, found.modes, fallen)

    monkeypatch.setattr(freeze, "examine", weak_judge)

    train.train(ready(), "extractor")

    assert any(line.startswith("warning: the second judge is a weak one: rising noise") for line in shown.lines)
    assert versions.by_alias(NAME, versions.CHAMPION) is not None


def test_the_registered_extractor_gives_the_features_of_images(frozen):
    import mlflow

    pixels = prepare.dataset(frozen).pixels("test")[:3]

    given = mlflow.pyfunc.load_model(f"models:/{NAME}@champion").predict(pixels)

    judge = packaging.load_network("judge", f"models:/{NAME}/1")
    assert given.shape == (3, 16)
    assert given.dtype == np.float32
    assert judge.classifier.in_features == 16


def test_an_extractor_is_not_promoted_by_hand_and_draws_no_images(frozen, tmp_path):
    with pytest.raises(RegistryError, match="digits-extractor is not promoted by hand"):
        promote_by_hand(frozen.workspace, NAME, 1, "ada", "because", force=True)
    with pytest.raises(RegistryError, match="digits-extractor makes no images, it looks at them"):
        sample_images(frozen.workspace, NAME, 1, 0, tmp_path / "none.png")
