"""The train stage: what it leaves behind, what MLflow is told, and that several processes are one stage to the outside."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from regen.core.errors import DeviceError, DivergenceError, ValidationError
from regen.models import storage
from regen.registry.tracking import SPEED, Run
from regen.stages import prepare, train


def run_of(context, kind):
    return Run.of_key(context.workspace, "digits", "any", context.key(f"train_{kind}"), {})


def history(run, key):
    import mlflow

    return [(point.step, point.value) for point in mlflow.MlflowClient().get_metric_history(run.id, key)]


def test_a_gan_leaves_its_networks_its_curve_and_a_record_in_mlflow(ready, shown):
    context = ready()

    outcome = train.train(context, "gan")

    out = context.results("train_gan")
    assert not outcome.reused
    assert {path.name for path in out.iterdir()} >= {
        "generator.json", "generator.safetensors", "discriminator.json", "discriminator.safetensors", "curve.csv",
        "network.json",
    }  # fmt: skip
    assert storage.load(out, "generator").classes == tuple("0123456789")
    run = run_of(context, "gan")
    assert [step for step, _ in history(run, "train/generator_loss")] == [128, 256, 384, 512, 640]
    assert [step for step, _ in history(run, "train/diversity")] == [320, 640]
    assert [step for step, _ in history(run, SPEED)] == [128, 256, 384, 512, 640]
    assert shown.updates[-1][:3] == ("train gan", 640, 640)
    assert run.data().params["gan.loss"] == "r3"


def test_a_vae_knows_the_classes_it_was_trained_on(ready):
    context = ready()

    train.train(context, "vae")

    vae = storage.load(context.results("train_vae"), "vae")
    assert vae.classes == tuple("012345679")
    assert vae.class_shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert {key for key in run_of(context, "vae").data().metrics if key.startswith("train/kl_")} == {
        f"train/kl_{place:02d}" for place in range(4)
    }


def test_an_unconditional_gan_knows_no_classes(ready):
    context = ready(gan__conditional="false")

    train.train(context, "gan")

    assert storage.load(context.results("train_gan"), "generator").classes == ()


def test_training_from_a_mapped_file_gives_the_same_files(ready, monkeypatch):
    context = ready()
    train.train(context, "gan")
    out = context.results("train_gan")
    held = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".safetensors"}
    (context.folder("train_gan").path / "done.json").unlink()
    original = train.Rows.of_pixels
    monkeypatch.setattr(
        train.Rows, "of_pixels", lambda pixels, index, classes, mib: original(pixels, index, classes, 0)
    )

    outcome = train.train(context, "gan")

    assert not outcome.reused
    assert {name: (out / name).read_bytes() for name in held} == held


def test_grey_pixels_are_refused_for_a_bernoulli_likelihood(ready):
    context = ready(vae__likelihood="bernoulli")

    with pytest.raises(ValidationError, match=r"bernoulli, which wants pixels of 0 and 255 only.*set it to gaussian"):
        train.train(context, "vae")


def test_a_warning_is_shown_and_stays_with_the_run(ready, shown, monkeypatch):
    context = ready()
    monkeypatch.setattr(train.gan, "LEAST_DIVERSITY", 1e9)

    train.train(context, "gan")

    assert "mode collapse" in run_of(context, "gan").data().tags["regen.warning"]
    assert any(line.startswith("warning: the GAN's samples differ") for line in shown.lines)


def test_a_diverged_training_has_failed_in_mlflow_and_left_nothing(ready):
    import mlflow

    context = ready(gan__learning_rate="1e30")

    with pytest.raises(DivergenceError, match="lower its learning rate"):
        train.train(context, "gan")

    assert not context.folder("train_gan").is_done()
    assert mlflow.MlflowClient().get_run(run_of(context, "gan").id).info.status == "FAILED"


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves_up_to_rounding(ready, shown):
    alone, together = ready(), ready(training__devices="2")
    train.train(alone, "gan")

    outcome = train.train(together, "gan")

    assert not outcome.reused
    one, two = (context.results("train_gan") for context in (alone, together))
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    left, right = (load_file(out / "generator.safetensors") for out in (one, two))
    for name, tensor in left.items():
        torch.testing.assert_close(right[name], tensor, rtol=1e-2, atol=1e-3)
    assert json.loads((one / "network.json").read_text()) == json.loads((two / "network.json").read_text())
    steps = [[step for step, _ in history(run_of(c, "gan"), "train/generator_loss")] for c in (alone, together)]
    assert steps[0] == steps[1] == [128, 256, 384, 512, 640]


@pytest.mark.slow
def test_an_error_in_one_of_several_processes_crosses_as_itself(ready):
    with pytest.raises(DivergenceError, match=r"loss is (nan|inf|-inf) after .*lower its learning rate") as met:
        train.train(ready(training__devices="2", gan__learning_rate="1e30"), "gan")

    assert type(met.value) is DivergenceError


@pytest.mark.slow
def test_a_batch_that_cannot_be_dealt_out_crosses_as_a_device_error(ready):
    with pytest.raises(DeviceError, match="a batch of 63 cannot be dealt out to 2 devices"):
        train.train(ready(training__devices="2", gan__batch_size="63"), "gan")


def test_rows_know_their_classes_by_position(ready):
    context = ready()
    dataset = prepare.dataset(context)

    rows = train.rows_of(context.config, dataset, "train", list(range(10)))

    index = dataset.rows("train")
    assert rows.classes.tolist() == dataset.labels[index].tolist()
    np.testing.assert_array_equal((rows.held.permute(0, 2, 3, 1)).numpy(), dataset.images[index])
