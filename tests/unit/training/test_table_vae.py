"""The table VAE's loop: it learns, resumes exactly, tells of a collapse, finds what contradicts, and learns from anomalies."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from regen.core.errors import DataError, DeviceError, DivergenceError
from regen.core.sections.table_vae import TableVaeConfig
from regen.models.cells import Cells, Layout
from regen.training import table_vae as module
from regen.training.checkpoints import Checkpoints
from regen.training.runtime import Runtime
from regen.training.table_vae import TrainedTableVae, build, log_sigma_of, mean_nll, mean_squares, train_table_vae
from tests.unit.models.mixed import LAYOUT, mixed, strange
from tests.unit.training.toys import Heard, differing, weights_of

CONFIG = TableVaeConfig(
    widths=(32, 16), latent_dim=3, rows=300 * 32, batch_size=32, learning_rate=5e-3, score_draws=4, flag_quantile=0.9
)
BATCH = 16
SHORT = CONFIG.model_copy(update={"rows": 16 * BATCH, "batch_size": BATCH})
EVERY = 4 * BATCH


def train(config: TableVaeConfig = SHORT, seed: int = 0, layout: Layout = LAYOUT, **more: object) -> TrainedTableVae:
    runtime = more.pop("runtime", Runtime(log_every_images=EVERY, checkpoint_every_images=EVERY))
    return train_table_vae(config, layout, mixed(), mixed(80, 1), seed, runtime, **more)


def weights(done: TrainedTableVae) -> dict[str, Tensor]:
    """All that the model holds; where a reference number is missing stands a zero, so that equal ones compare equal."""
    return {name: value.nan_to_num() for name, value in weights_of(vae=done.vae).items()}


@pytest.fixture(scope="module")
def trained() -> TrainedTableVae:
    return train(CONFIG, runtime=Runtime(log_every_images=25 * 32))


def test_a_few_hundred_steps_lower_the_loss(trained: TrainedTableVae) -> None:
    first, last = trained.curve[0], trained.curve[-1]

    assert set(first) == {"images", "negative_elbo", "nll", "kl"}
    assert last["negative_elbo"] < first["negative_elbo"] - 1


def test_a_number_that_is_missing_in_whole_chunks_leaves_its_spread_alone(
    trained: TrainedTableVae, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 20)
    rows, found = mixed(80, 1), []
    for order in (torch.arange(80), rows.numbers[:, 2].isnan().int().argsort()):
        vae = deepcopy(trained.vae)
        module.calibrate(vae, mixed(), rows.take(order), CONFIG, 0)
        found.append(vae.log_sigma)

    torch.testing.assert_close(*found)


def test_rows_that_contradict_themselves_score_higher_and_the_column_is_named(trained: TrainedTableVae) -> None:
    normal, odd = mixed(200, 2), strange(60)

    scores = [trained.vae.anomaly_score(rows) for rows in (normal, odd)]

    assert roc_auc_score([0] * 200 + [1] * 60, torch.cat(scores)) > 0.9
    far = odd.take((scores[1] > scores[0].quantile(0.95)).nonzero().flatten())
    named = trained.vae.explain(far, top=2).top
    assert ((named == 0) | (named == 1)).any(dim=1).float().mean() > 0.9


def test_the_threshold_flags_the_share_that_was_asked_for(trained: TrainedTableVae) -> None:
    scores = trained.vae.anomaly_score(mixed(80, 1))

    assert trained.vae.is_anomaly(scores).float().mean().item() == pytest.approx(0.1, abs=2 / 80)


def test_samples_are_like_the_rows(trained: TrainedTableVae) -> None:
    samples, rows = trained.vae.sample(2000, torch.Generator().manual_seed(0)), mixed(2000, 3)

    assert samples.numbers[:, 2].isnan().float().mean().item() == pytest.approx(0.3, abs=0.1)
    correlation = torch.corrcoef(samples.numbers[:, :2].T)[0, 1]
    assert correlation > 0.8
    agrees = (samples.codes[:, 0] == (samples.numbers[:, 1] > 0).long()).float().mean()
    assert agrees > 0.75
    torch.testing.assert_close(samples.numbers[:, :2].mean(dim=0), rows.numbers[:, :2].mean(dim=0), rtol=0.02, atol=0.3)


def test_a_given_column_decides_what_is_sampled() -> None:
    layout = Layout(LAYOUT.numeric, LAYOUT.sizes, LAYOUT.nullable, given=(3,))
    vae = train(CONFIG, layout=layout).vae
    asked = Cells(mixed(400).numbers, torch.tensor([[0, 0], [1, 0]]).repeat(200, 1))

    samples = vae.sample(400, torch.Generator(), asked)

    assert (samples.numbers[0::2, 1] < 0).float().mean() > 0.8
    assert (samples.numbers[1::2, 1] > 0).float().mean() > 0.8


def test_known_anomalies_that_look_normal_are_found_with_their_help() -> None:
    def hidden(n: int, seed: int) -> Cells:
        rows = mixed(n, seed)
        return Cells(rows.numbers, torch.stack([rows.codes[:, 0], torch.full((n,), 2)], dim=1))

    asked, truth = Cells(*(torch.cat([a, b]) for a, b in zip(
        (mixed(200, 2).numbers, mixed(200, 2).codes), (hidden(50, 3).numbers, hidden(50, 3).codes), strict=True
    ))), [0] * 200 + [1] * 50  # fmt: skip

    alone, helped = train(CONFIG), train(CONFIG, anomalies=hidden(30, 4))

    assert helped.vae.supervised_weight == 0.5
    assert alone.vae.supervised_weight == 0
    area = roc_auc_score(truth, helped.vae.anomaly_score(asked))
    assert area > roc_auc_score(truth, alone.vae.anomaly_score(asked)) + 0.1
    assert area > 0.75  # a quarter of the normal rows have that category too
    flagged = helped.vae.is_anomaly(helped.vae.anomaly_score(mixed(80, 1))).float().mean()
    assert flagged.item() == pytest.approx(0.1, abs=2 / 80)


def test_the_same_seed_gives_the_same_model_and_another_another() -> None:
    torch.manual_seed(1)
    one = train(anomalies=strange(10))
    torch.manual_seed(2)
    same, other = train(anomalies=strange(10)), train(seed=1)

    assert differing(weights(one), weights(same)) == []
    assert one.curve == same.curve
    assert not torch.equal(one.vae.encoder[0].weight, other.vae.encoder[0].weight)


def test_training_leaves_the_global_generator_and_the_rows_alone() -> None:
    rows, state = mixed(), torch.get_rng_state()
    before = rows.numbers.clone()

    train_table_vae(SHORT, LAYOUT, rows, mixed(20, 1), 0, Runtime())

    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(rows.numbers, before, equal_nan=True)


@pytest.mark.parametrize("stop", [2 * EVERY, 3 * EVERY])
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path, stop: int) -> None:
    whole = train()
    checkpoints = Checkpoints(tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        train(runtime=Runtime(torch.device("cpu"), Heard(stop), checkpoints, EVERY, EVERY))

    resumed = train(runtime=Runtime(torch.device("cpu"), Heard(), checkpoints, EVERY, EVERY))

    assert differing(weights(whole), weights(resumed)) == []
    assert whole.curve == resumed.curve


def test_every_weight_has_a_gradient() -> None:
    seen: list[list[Tensor]] = []

    def watched(optimiser: Optimizer, *_: object) -> None:
        weights = [weights for group in optimiser.param_groups for weights in group["params"]]
        seen.append([p.grad.clone() for p in weights if p.grad is not None])

    hook = register_optimizer_step_pre_hook(watched)
    vae = train().vae
    hook.remove()

    assert len(seen[-1]) == len(list(vae.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in seen[-1])


def test_a_loss_that_is_not_finite_ends_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gaussian_kl_terms", lambda mean, log_variance: mean * torch.nan)

    with pytest.raises(DivergenceError, match=r"the table VAE's loss is nan after 0 images"):
        train()


def test_a_collapse_is_told_and_gets_free_nats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACTIVE_VARIANCE", 1e9)
    monitor = Heard()

    train(runtime=Runtime(torch.device("cpu"), monitor, None, EVERY, EVERY))

    assert "0% of the table VAE's latent dimensions are active" in monitor.warnings[-1]
    assert set(monitor.measured[-1][1]) == {"active_units", "kl_00", "kl_01", "kl_02"}


def test_sigma_is_fitted_to_the_rows_held_out(trained: TrainedTableVae) -> None:
    inputs = trained.vae.inputs(mixed(80, 1))
    raw = trained.vae.decode(trained.vae.encode(inputs.slots)[0], inputs.slots)

    expected = log_sigma_of(mean_squares(trained.vae, inputs, raw), LAYOUT.numeric)

    torch.testing.assert_close(trained.vae.log_sigma, expected, rtol=1e-4, atol=1e-4)


def test_missing_numbers_do_not_enter_the_mean_squared_error() -> None:
    vae = build(SHORT, LAYOUT, 0, 0)
    vae.normaliser.fit(mixed().numbers)
    inputs = vae.inputs(mixed(50, 4))

    found = mean_squares(vae, inputs, torch.zeros(50, LAYOUT.slots))

    present = ~inputs.absent[:, 2]
    torch.testing.assert_close(found[2], inputs.slots[present, 2].square().mean())


@pytest.mark.parametrize("layout", [LAYOUT, replace(LAYOUT, given=(0, 3)), Layout(2), Layout(0, (2, 4))])
def test_the_loss_is_the_mean_cost_of_the_rows(layout: Layout) -> None:
    vae, rows = build(SHORT, layout, 0, 0).requires_grad_(False), mixed(50)
    rows = Cells(rows.numbers[:, : layout.numeric], rows.codes[:, : len(layout.sizes)])
    vae.normaliser.fit(rows.numbers)
    inputs, raw = vae.inputs(rows), torch.randn(50, layout.slots)
    vae.log_sigma.copy_(torch.rand(3 * layout.numeric))

    found = mean_nll(vae, inputs, raw, mean_squares(vae, inputs, raw), vae.log_sigma)

    numbers, rest = vae.nats(inputs, raw)
    torch.testing.assert_close(found, (numbers.sum() + rest.sum()) / 50)


def test_many_rows_are_thinned_for_the_reference() -> None:
    done = train(SHORT.model_copy(update={"score_reference": 10}))

    torch.testing.assert_close(done.vae.reference_numbers, mixed().thinned(10).numbers, equal_nan=True)
    assert done.vae.reference_latents.shape == (10, 3)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"trains on 2 or more normal rows .*, got 300 and 1; add rows"):
        train_table_vae(SHORT, LAYOUT, mixed(), mixed(1), 0, Runtime())


def test_numbers_missing_where_the_layout_has_none_are_refused() -> None:
    with pytest.raises(DataError, match=r"numbers are missing in the columns \[2\].*; make it by Layout.of"):
        train(layout=Layout(LAYOUT.numeric, LAYOUT.sizes))


def test_a_device_without_float64_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"kept in float64, which mps does not know; set training.device to cpu"):
        train(runtime=Runtime(torch.device("mps")))


def test_empty_anomalies_leave_the_score_unsupervised() -> None:
    assert train(anomalies=mixed(0)).vae.supervised_weight == 0


def test_a_table_of_categories_alone_is_learned() -> None:
    rows = Cells(torch.zeros(200, 0, dtype=torch.float64), mixed(200).codes)

    vae = train_table_vae(SHORT, Layout(0, LAYOUT.sizes), rows, rows, 0, Runtime()).vae

    assert vae.anomaly_score(rows).isfinite().all()
    assert vae.sample(5, torch.Generator()).codes.shape == (5, 2)
