"""Scoring anew: which file is a model's project, which rows are used, what a word says, and each refusal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.config import parse
from regen.core.errors import ConfigError, EvaluationError, RegistryError
from regen.core.workspace import Workspace
from regen.data.splits import SPLITS, Dataset
from regen.evaluation.intervals import Estimate
from regen.registry import packaging
from regen.registry.versions import Version
from regen.stages import reevaluate
from regen.stages.reevaluate import Line, Reevaluation, Subject, find, project_file, thinned

CONFIG = parse({"project": "digits", "extractor": {"features": 4}})
FIGURE = Estimate(1.0, 0.5, 1.5)


def dataset(anomaly_class=2, n=400):
    labels = np.arange(n) % 3
    split = np.array(SPLITS)[np.arange(n) // 3 % 4]
    return Dataset(np.zeros((n, 4, 4, 1), np.uint8), labels, split, anomaly_class)


def subject(split="", project="digits", kind="gan"):
    return Subject(f"{project}-{kind} 1", kind, project, "models:/any/1", split)


@pytest.mark.parametrize(
    ("metric", "low", "high", "word"),
    [
        ("frechet_distance", -2, -1, "better"),
        ("frechet_distance", 1, 2, "worse"),
        ("recall", 0.1, 0.2, "better"),
        ("recall", -0.2, -0.1, "worse"),
        ("recall", -0.1, 0.2, "no difference"),
        ("recall", 0.0, 0.0, "no difference"),
        ("recall", float("nan"), float("nan"), "no difference"),
    ],
)
def test_a_word_is_said_when_the_whole_interval_says_so(metric, low, high, word):
    assert Line(metric, FIGURE, FIGURE, Estimate((low + high) / 2, low, high)).word == word


def test_a_model_alone_is_neither_better_nor_worse():
    assert Line("recall", FIGURE, None, None).word == ""


def test_what_was_found_becomes_plain_values():
    found = Reevaluation("a 1", "b 2", {"n": 5}, 0.95, (Line("recall", FIGURE, FIGURE, Estimate(0, 0, 0)),))

    plain = found.to_json()

    assert plain["figures"]["recall"]["word"] == "no difference"
    assert plain["figures"]["recall"]["model"] == {"value": 1.0, "low": 0.5, "high": 1.5}
    assert (plain["model"], plain["against"], plain["run"]) == ("a 1", "b 2", None)


def test_the_project_file_is_found_by_the_projects_name(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "params.yaml").write_text("# the default\nproject: digits\nseed: 0\n")
    (tmp_path / "configs" / "other.yaml").write_text("seed: 1\nproject: 'clothes'\n")

    found = [project_file(Workspace(tmp_path), name).name for name in ("digits", "clothes")]

    assert found == ["params.yaml", "other.yaml"]


def test_a_project_without_a_file_is_refused_and_the_files_are_named(tmp_path):
    (tmp_path / "params.yaml").write_text("project: digits\n")

    with pytest.raises(
        ConfigError, match=r"no project file is of parts; there are: params\.yaml \(digits\); name it by --config"
    ):
        project_file(Workspace(tmp_path), "parts")


def test_test_rows_are_thinned_evenly_and_all_other_rows_stay():
    full = dataset()

    few = thinned(full, 90, CONFIG)

    rows, all_rows = few.rows("test"), full.rows("test")
    assert len(rows) == 90
    assert set(rows) <= set(all_rows)
    assert (rows[0], rows[-1]) == (all_rows[0], all_rows[-1])
    assert np.diff(np.searchsorted(all_rows, rows)).max() == 2
    assert few.rows("train").tolist() == full.rows("train").tolist()


def test_without_a_number_every_test_row_is_used():
    assert thinned(dataset(), None, CONFIG).rows("test").tolist() == dataset().rows("test").tolist()


@pytest.mark.parametrize(("n", "anomaly_class"), [(40, None), (60, 2)])
def test_too_few_test_rows_are_no_score(n, anomaly_class):
    with pytest.raises(
        EvaluationError, match=r"not enough samples: .* figures need at least 50 .*raise --n or add data"
    ):
        thinned(dataset(anomaly_class), n, CONFIG)


def test_more_test_rows_than_there_are_are_refused():
    with pytest.raises(
        EvaluationError, match="1000 test rows were asked for, and there are 99; lower --n or leave it out"
    ):
        thinned(dataset(), 1000, CONFIG)


def test_more_features_need_more_rows():
    wide = parse({"project": "digits", "extractor": {"features": 80}})

    with pytest.raises(EvaluationError, match="figures need at least 81 normal ones"):
        thinned(dataset(None), 70, wide)


def test_another_shape_is_refused_and_both_are_told(monkeypatch):
    monkeypatch.setattr(packaging, "shape_of", lambda kind, uri: (3, 32, 32))

    with pytest.raises(
        ConfigError,
        match=r"digits-gan 1 knows images of 32×32 pixels in colour, the data of digits are of 4×4 pixels in grey",
    ):
        reevaluate._require_shape(subject(), dataset(), CONFIG)


@pytest.mark.parametrize("split", ["1:0.550000", "0:0.500000"])
def test_a_model_that_may_have_seen_the_test_rows_is_refused(split):
    with pytest.raises(
        ConfigError, match="digits-gan 1 was trained with other splits, so it may have seen these test rows"
    ):
        reevaluate._require_unseen(subject(split), CONFIG)


def refused(split):
    try:
        reevaluate._require_unseen(subject(split), CONFIG)
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("split", ["0:0.550000", "0:0.700000", ""])
def test_a_model_that_cannot_have_seen_them_or_does_not_say_is_scored(split):
    assert not refused(split)


@given(st.integers(0, 3), st.floats(0, 1))
def test_a_model_is_refused_whose_split_had_another_seed_or_whose_training_rows_began_before(seed, start):
    assert refused(f"{seed}:{start:.6f}") == (seed != 0 or round(start, 6) < 0.55)


def test_models_of_two_projects_are_not_compared():
    with pytest.raises(
        ConfigError, match="are of the projects clothes, digits; models compare within one project only"
    ):
        reevaluate._project(Workspace.find(), [subject(), subject(project="clothes")], None)


def test_the_file_of_another_project_is_refused(root):
    with pytest.raises(ConfigError, match=r"params\.yaml is the project digits, and clothes-gan 1 is of clothes"):
        reevaluate._project(Workspace(root), [subject(project="clothes")], root / "params.yaml")


@pytest.mark.parametrize(
    ("tags", "project"), [({}, "parts"), ({"regen.project": "my_parts"}, "my_parts")], ids=["name", "tag"]
)
def test_a_version_tells_its_project_by_its_tag_or_by_its_name(monkeypatch, tags, project):
    version = Version("parts-gan", 3, "run", (), {"regen.kind": "gan", "regen.split": "0:0.5"} | tags, 0)
    monkeypatch.setattr(reevaluate.versions, "resolve", lambda reference: version)

    assert find("parts-gan/3") == Subject("parts-gan 3", "gan", project, "models:/parts-gan/3", "0:0.5", "run")


@pytest.mark.parametrize(
    ("reference", "against"),
    [
        ("digits-gan/1", "digits-gan@champion"),
        ("digits-gan", "f" * 32),
        ("f" * 32, "digits-gan/1"),
        ("f" * 32, "f" * 32),
    ],
)
def test_a_model_against_itself_is_refused_whatever_it_is_called(monkeypatch, reference, against):
    version = Version("digits-gan", 1, "f" * 32, ("champion",), {"regen.kind": "gan"}, 0)
    logged = Subject("run ffffffff", "gan", "digits", "models:/m-1", "", "f" * 32)
    monkeypatch.setattr(reevaluate.tracking, "open_store", lambda workspace: None)
    monkeypatch.setattr(reevaluate.versions, "resolve", lambda reference: version)
    monkeypatch.setattr(reevaluate, "_of_run", lambda run_id: logged)

    with pytest.raises(ConfigError, match=f"{reference} and {against} are one model, .*; name another by --against"):
        reevaluate.reevaluate(Workspace.find(), reference, against)


def test_two_versions_are_two_models():
    one, other = (Subject(f"m {n}", "gan", "digits", f"models:/m/{n}", "", "run") for n in (1, 2))

    reevaluate._require_two("m/1", "m/2", one, other)


def test_a_model_that_makes_no_images_is_refused(monkeypatch):
    version = Version("digits-extractor", 1, "run", (), {"regen.kind": "extractor"}, 0)
    monkeypatch.setattr(reevaluate.versions, "resolve", lambda reference: version)

    with pytest.raises(RegistryError, match=r"digits-extractor 1 makes no images \(extractor\); name a VAE or a GAN"):
        find("digits-extractor")
