"""The GAN's loop: its samples come nearer to the data, every term and setting moves the result, and a collapse is told."""

import itertools

import pytest
import torch
from torch import Tensor

from regen.core.errors import CollapseError
from regen.core.sections.models import GanConfig
from regen.models.gan import Discriminator, Generator
from regen.training import gan
from regen.training.gan import TrainedGan, build, diversity, train_gan
from regen.training.losses import LOSSES, Loss, Pair, gradient_norms
from regen.training.runtime import Runtime
from regen.training.slopes import logits_and_slopes
from tests.unit.training.toys import Heard, differing, half_rows, halves, is_left, weights_of

CONFIG = GanConfig(network="mlp", width=2, latent_dim=4, images=500 * 16, batch_size=16)
SHORT = CONFIG.model_copy(update={"images": 20 * 16})
CLASSES = ("left", "right")


@pytest.fixture(scope="module")
def watched() -> tuple[TrainedGan, Heard]:
    """A training that goes well, and what its monitor heard."""
    monitor = Heard()
    runtime = Runtime(monitor=monitor, log_every_images=50 * 16, checkpoint_every_images=250 * 16)
    return train_gan(CONFIG, half_rows(200), 0, runtime), monitor


@pytest.fixture(scope="module")
def trained(watched: tuple[TrainedGan, Heard]) -> TrainedGan:
    return watched[0]


@pytest.fixture(scope="module")
def conditional() -> TrainedGan:
    config = CONFIG.model_copy(update={"learning_rate": 2e-3, "images": 400 * 16})
    return train_gan(config, half_rows(200), 0, Runtime(), CLASSES)


def short(runtime: Runtime | None = None, **change: object) -> dict[str, Tensor]:
    """The weights after a few steps with some settings changed."""
    done = train_gan(SHORT.model_copy(update=change), half_rows(), 0, runtime or Runtime())
    return weights_of(generator=done.generator, discriminator=done.discriminator)


def distance(samples: Tensor, real: Tensor) -> float:
    """Mean distance of each sample to the nearest real image."""
    return torch.cdist(samples.flatten(1), real.flatten(1)).min(dim=1).values.mean().item()


def sample(model: Generator, n: int = 400, classes: Tensor | None = None) -> Tensor:
    return model.sample(n, torch.Generator().manual_seed(0), classes)


def test_a_few_hundred_steps_bring_samples_nearer_to_the_data(trained: TrainedGan) -> None:
    real = halves(200)[0]
    untrained = build(CONFIG, (1, 8, 8), seed=0)[0]

    assert distance(sample(trained.generator), real) < 0.7 * distance(sample(untrained), real)


def test_samples_show_both_kinds_of_image(trained: TrainedGan) -> None:
    assert 0.1 < is_left(sample(trained.generator)).float().mean() < 0.9


def test_the_curve_tells_of_each_term(trained: TrainedGan) -> None:
    assert set(trained.curve[0]) == {
        "images", "discriminator_loss", "gradient_penalty", "generator_loss", "confidence", "augment_probability",
    }  # fmt: skip
    assert all(point["gradient_penalty"] > 0 for point in trained.curve)


@pytest.mark.parametrize("loss", ["ns", "ns-r1", "hinge"])
def test_other_losses_bring_samples_nearer_to_the_data_too(loss: str) -> None:
    config = CONFIG.model_copy(update={"loss": loss, "images": 200 * 16})
    real, untrained = halves(200)[0], build(config, (1, 8, 8), seed=0)[0]

    done = train_gan(config, half_rows(200), 0, Runtime())

    assert distance(sample(done.generator), real) < 0.95 * distance(sample(untrained), real)


def test_the_penalty_leads_a_wasserstein_critic_to_slope_1() -> None:
    config = CONFIG.model_copy(update={"loss": "wgan-gp", "images": 60 * 16})

    done = train_gan(config, half_rows(200), 0, Runtime(log_every_images=5 * 16))

    assert done.curve[-1]["gradient_penalty"] < 0.3 * done.curve[0]["gradient_penalty"]


def test_a_class_that_is_asked_for_is_given(conditional: TrainedGan) -> None:
    for position, share in ((0, 1), (1, 0)):
        asked = sample(conditional.generator, 200, torch.full((200,), position))
        assert is_left(asked).float().mean().item() == pytest.approx(share, abs=0.05)


def test_without_a_class_samples_follow_the_shares_of_the_rows() -> None:
    images, classes = halves(90)
    keep = torch.cat([torch.where(classes == 0)[0], torch.where(classes == 1)[0][:15]])
    rows = gan.Rows.of(images[keep], classes[keep])

    done = train_gan(SHORT, rows, 0, Runtime(), CLASSES)

    assert done.generator.class_shares.tolist() == pytest.approx([0.75, 0.25])


def test_a_conditional_discriminator_looks_at_the_class(conditional: TrainedGan) -> None:
    images, classes = halves(200)
    with torch.no_grad():
        right, wrong = conditional.discriminator(images, classes), conditional.discriminator(images, 1 - classes)

    assert (right > wrong).float().mean() > 0.9


def test_without_names_of_classes_labels_do_not_count() -> None:
    one = train_gan(SHORT, half_rows(), 0, Runtime())
    other = train_gan(SHORT, gan.Rows.of(halves()[0]), 0, Runtime())

    assert differing(weights_of(g=one.generator), weights_of(g=other.generator)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"penalty_weight": 5.0}, {"augment_probability": 0.0}, {"ema_half_life_share": 0.5}, {"learning_rate": 2e-3},
        {"final_learning_rate": 5e-4}, {"batch_size": 8}, {"latent_dim": 5}, {"width": 1}, {"images": 24 * 16},
        {"network": "conv"}, {"network": "transformer"}, {"augment_target": 0.99}, *({"loss": loss} for loss in LOSSES),
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_moves_the_result(change: dict) -> None:
    one, other = short(**({"loss": "ns"} if change == {"loss": "r3"} else {})), short(**change)

    same = [n for n in one if n in other and one[n].shape == other[n].shape and torch.equal(one[n], other[n])]
    assert not [name for name in same if name.startswith("generator") and "weight" in name]


@pytest.mark.parametrize("loss", ["r3", "ns-r1", "wgan-gp"])
def test_the_penalty_of_every_loss_that_has_one_moves_the_result(loss: str) -> None:
    assert differing(short(loss=loss), short(loss=loss, penalty_weight=5.0))


@pytest.mark.parametrize("loss", ["ns", "hinge"])
def test_a_loss_without_a_penalty_has_none(loss: str) -> None:
    done = train_gan(SHORT.model_copy(update={"loss": loss}), half_rows(), 0, Runtime())

    assert all(point["gradient_penalty"] == 0 for point in done.curve)
    assert differing(short(loss=loss), short(loss=loss, penalty_weight=5.0)) == []


@pytest.mark.parametrize("side", Pair._fields)
@pytest.mark.parametrize("loss", LOSSES)
def test_neither_side_of_a_loss_is_dead(loss: str, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive, held = short(loss=loss), LOSSES[loss]

    def dead(real: Tensor, fake: Tensor) -> Pair:
        pair = held.adversarial(real, fake)
        return pair._replace(**{side: 0 * getattr(pair, side)})

    monkeypatch.setitem(gan.LOSSES, loss, Loss(dead, held.penalised, held.pairs))

    assert [name for name in differing(alive, short(loss=loss)) if name.startswith(side)]


@pytest.mark.parametrize("network", ["conv", "mlp", "transformer"])
def test_each_term_has_a_gradient_in_every_layer(network: str) -> None:
    config = CONFIG.model_copy(update={"network": network})
    torch.manual_seed(0)
    generator, discriminator = build(config, (1, 8, 8), 0, CLASSES)
    images, classes = halves(16)
    fake = generator(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), classes)
    logits = discriminator(images, classes)

    def slopes(loss: Tensor, net: torch.nn.Module) -> list[str]:
        named = dict(net.named_parameters())
        found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        weights = zip(named, found, strict=True)
        return [name for name, g in weights if "weight" in name and (g is None or not g.abs().sum() > 0)]

    pair = LOSSES["r3"].adversarial(logits, discriminator(fake, classes))
    assert slopes(pair.discriminator, discriminator) == []
    assert slopes(pair.generator, generator) == []
    _, gradients = logits_and_slopes(discriminator, images, classes)
    assert slopes(gradient_norms(gradients).mean(), discriminator) == []


def test_the_generator_is_an_average_and_frozen_while_the_discriminator_is_free(trained: TrainedGan) -> None:
    assert not any(parameter.requires_grad for parameter in trained.generator.parameters())
    assert all(parameter.requires_grad for parameter in trained.discriminator.parameters())


def test_untrained_weights_follow_the_seed() -> None:
    one, same, other = (build(CONFIG, (1, 8, 8), seed)[0].stem.net[0].weight for seed in (0, 0, 1))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def probabilities(confidence: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Augmentation at each step of a training whose discriminator is this sure of itself throughout."""
    monkeypatch.setattr(gan, "adapt", lambda p, _, *rest: original(p, torch.tensor(confidence), *rest))
    done = train_gan(SHORT, half_rows(), 0, Runtime(log_every_images=16))
    return [point["augment_probability"] for point in done.curve]


original = gan.adapt


def test_augmentation_rises_over_its_ramp_where_the_discriminator_is_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    found = probabilities(1.0, monkeypatch)

    assert found[0] == 0
    assert all(late >= early for early, late in itertools.pairwise(found))
    assert found[7:] == pytest.approx([0.3] * 13)
    assert found[5] == pytest.approx(0.3 * (4 / 20) / 0.3)


def test_augmentation_stays_away_where_the_discriminator_is_not_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probabilities(0.0, monkeypatch) == [0] * 20


def test_samples_without_diversity_are_told() -> None:
    real = halves(64)[0]

    assert diversity(real[:1].repeat(32, 1, 1, 1), real) == pytest.approx(0, abs=1e-4)
    assert diversity(halves(64, seed=1)[0], real) == pytest.approx(1, abs=0.1)
    assert diversity(real[:1].repeat(8, 1, 1, 1), real[:1].repeat(8, 1, 1, 1)) == pytest.approx(0, abs=1e-3)


@pytest.fixture
def collapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that makes one image of whatever it is given."""
    forward = Generator.forward

    def constant(self: Generator, latents: Tensor, classes: Tensor) -> Tensor:
        return forward(self, latents, classes).mean(dim=0, keepdim=True).expand(len(latents), -1, -1, -1)

    monkeypatch.setattr(Generator, "forward", constant)


@pytest.mark.usefixtures("collapsed")
def test_a_collapse_is_warned_of_after_a_fifth_of_the_budget() -> None:
    monitor = Heard()

    short(Runtime(monitor=monitor, checkpoint_every_images=2 * 16))

    assert len(monitor.warnings) == 8
    assert monitor.warnings[0] == (
        "the GAN's samples differ 0.00 times as much as real rows, which is mode collapse (after 96 images)"
    )
    assert all(figures["diversity"] < 0.01 for _, figures in monitor.measured)


@pytest.mark.usefixtures("collapsed")
def test_a_collapse_ends_the_training_where_it_should() -> None:
    monitor = Heard()

    with pytest.raises(CollapseError, match=r"mode collapse; raise gan\.penalty_weight or .* or take gan\.loss r3"):
        short(Runtime(monitor=monitor, checkpoint_every_images=2 * 16), stop_on_collapse=True)
    assert monitor.measured[-1][0] == 96
    assert monitor.warnings == []


@pytest.mark.usefixtures("collapsed")
def test_a_collapse_is_told_though_the_budget_is_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from regen.training import engine
    from tests.unit.training.engines import Clock

    clock, monitor, adversarial = Clock(), Heard(), LOSSES["r3"].adversarial

    def slow(real: Tensor, fake: Tensor) -> Pair:
        clock.now += 1
        return adversarial(real, fake)

    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setitem(gan.LOSSES, "r3", Loss(slow, "both", pairs=True))

    short(Runtime(monitor=monitor, checkpoint_every_images=2 * 16), images=10**9, seconds=20.0)

    assert monitor.warnings


def test_a_training_that_does_well_warns_of_nothing(watched: tuple[TrainedGan, Heard]) -> None:
    assert watched[1].warnings == []
    assert watched[1].measured[-1][1]["diversity"] > 0.5


@pytest.mark.parametrize("network", ["conv", "transformer"])
def test_other_networks_train_too(network: str) -> None:
    done = train_gan(SHORT.model_copy(update={"network": network, "width": 1}), half_rows(), 0, Runtime(), CLASSES)

    assert done.generator.sample(3, torch.Generator()).shape == (3, 1, 8, 8)
    assert isinstance(done.discriminator, Discriminator)
