"""What is wrong with a command, a project file or the data is said in one line, before anything is written."""

import numpy as np
import pytest

from regen.core.workspace import Workspace
from regen.data import versions
from tests.faults.conftest import assert_fails_in_one_line


@pytest.mark.parametrize("command", [("run",), ("stage", "train-vae"), ("data", "status")], ids=" ".join)
def test_an_unknown_key_is_refused_and_the_nearest_one_named(own_project, here, command):
    path = own_project.root / "params.yaml"
    path.write_text(path.read_text().replace("latent_dim: 8", "latent_dims: 8"))
    before = own_project.files()

    done = here(own_project, *command)

    assert_fails_in_one_line(done, "params.yaml", "unknown key vae.latent_dims", "did you mean vae.latent_dim?")
    assert own_project.files() == before


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("vae.widht=8", ("unknown key vae.widht", "did you mean vae.width?")),
        ("vae.width=wide", ("vae.width", "integer", "got 'wide'")),
        ("vae.images=0", ("vae.images", "greater than or equal to 1", "got 0")),
        ("gan.learning_rate=-0.1", ("gan.learning_rate", "greater than 0", "got -0.1")),
        ("vae.network=resnet", ("vae.network", "'conv', 'mlp' or 'transformer'", "got 'resnet'")),
        ("data.source=imagenet", ("data.source", "fashion-mnist", "got 'imagenet'")),
        ("data.source='folder:'", ("data.source", "got 'folder:'")),
        ("data.channels=4", ("data.channels", "1 or 3", "got 4")),
        ("data.max_rows=0", ("data.max_rows", "greater than or equal to 1", "got 0")),
        ("training.device=gpu", ("training.device", "got 'gpu'")),
        ("gate.vae.primary=beauty", ("gate.vae.primary", "got 'beauty'")),
        ("data.test_share=0.9", ("data", "at least 10% is needed")),
        ("project=Two Words", ("project", "got 'Two Words'")),
        ("vae.width={", ("vae.width", "not a YAML value")),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(unchanged, here, setting, words):
    assert_fails_in_one_line(here(unchanged, "run", "--set", setting), *words)


def test_a_real_process_says_no_more_than_that_one_line(unchanged):
    done = unchanged.regen("run", "--set", "vae.widht=8")

    assert_fails_in_one_line(done, "unknown key vae.widht", "did you mean vae.width?")
    assert done.stdout == ""


def test_a_setting_without_a_value_is_wrong_usage(unchanged, here):
    assert_fails_in_one_line(here(unchanged, "run", "--set", "vae.width"), "wanted KEY=VALUE", code=2)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "", "\x00"])
def test_a_project_file_that_is_none_is_refused(own_project, here, text):
    (own_project.root / "params.yaml").write_text(text)

    assert_fails_in_one_line(here(own_project, "run"), "params.yaml")


def test_a_missing_project_file_is_named_with_the_nearest_one(unchanged, here):
    assert_fails_in_one_line(here(unchanged, "run", "parms.yaml"), "no project file", "did you mean", "params.yaml")


@pytest.mark.parametrize("command", [("run",), ("models",), ("sample", "digits-vae"), ("data", "pull")], ids=" ".join)
def test_a_folder_without_a_project_is_said_to_be_none(unchanged, here, tmp_path, command):
    done = here(unchanged, *command, cwd=tmp_path)

    assert_fails_in_one_line(done, "no Regen project", "params.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("rnu",), "did you mean run?"),
        (("data", "pul"), "pull"),
        (("stage", "train-vea"), "train-vae"),
        (("xyzzy",), "there are: run, ingest, monitor"),
        (("run", "--sett", "a=b"), "--set"),
        (("promote", "digits-vae"), "VERSION"),
        (("promote", "digits-vae", "two"), "two"),
        (("sample", "digits-vae", "--n", "0"), "--n"),
        (("up", "--mlflow-port", "99999"), "--mlflow-port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_misspelt_command_is_wrong_usage_and_the_way_out_is_shown(unchanged, here, words, hint):
    assert_fails_in_one_line(here(unchanged, *words), hint, "--help' shows how", code=2)


def test_a_device_that_is_not_there_is_refused(own_project):
    done = own_project.regen("run", "--set", "training.device=cuda:99")

    assert_fails_in_one_line(done, "training.device is cuda:99", "set training.device to cpu or auto")
    assert not (own_project.root / "outputs").exists()


def test_data_that_is_not_what_was_recorded_is_not_trained_on(own_project, here):
    labels = own_project.root / "data" / "digits" / "labels.npy"
    changed = np.load(labels)
    changed[0] = 3
    np.save(labels, changed)
    before = own_project.files()

    ran, told = here(own_project, "run"), here(own_project, "data", "status")

    for done in (ran, told):
        assert_fails_in_one_line(done, "data/digits differs from data.dvc in labels.npy", "regen data add")
    assert own_project.files() == before


def test_a_file_beside_the_recorded_ones_makes_the_data_dirty(own_project, here):
    (own_project.root / "data" / "digits" / "more.npy").write_bytes(b"more")

    assert_fails_in_one_line(here(own_project, "run"), "differs from data.dvc in more.npy")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("images.npy", lambda raw: b"\x00" * len(raw)),
        ("images.npy", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
        ("labels.npy", lambda raw: raw[:-100]),
        ("labels.npy", lambda raw: b""),
        ("manifest.json", lambda raw: raw[:20]),
    ],
    ids=["images zeroed", "images flipped by a bit", "labels cut short", "labels empty", "manifest cut short"],
)  # fmt: skip
def test_damaged_data_is_refused_even_when_it_was_recorded(own_project, here, name, damage):
    path = own_project.root / "data" / "digits" / name
    path.write_bytes(damage(path.read_bytes()))
    versions.add(Workspace(own_project.root))

    done = here(own_project, "stage", "prepare")

    assert_fails_in_one_line(done, f"{name} is corrupt", "regen data pull")
    assert not (own_project.root / "outputs").exists()


def test_removed_data_comes_back_from_dvcs_cache(own_project, here):
    images = own_project.root / "data" / "digits" / "images.npy"
    before = images.read_bytes()
    images.unlink()

    done = here(own_project, "data", "pull")

    assert done.returncode == 0, done.stderr
    assert "came from the cache" in done.stdout
    assert images.read_bytes() == before


@pytest.mark.parametrize("text", ["outs: [", "outs: []\n", "outs:\n- path: data\n"])
def test_a_damaged_record_of_the_data_is_named(own_project, here, text):
    (own_project.root / "data.dvc").write_text(text)

    assert_fails_in_one_line(here(own_project, "data", "status"), "data.dvc", "git checkout data.dvc")
