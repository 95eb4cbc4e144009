"""Posterior collapse: it is warned of once the warm-up is over, and each dimension gets free nats while it lasts."""

import pytest

from regen.models.vae import Vae
from regen.training import vae as module
from regen.training.engine import State
from regen.training.runtime import Runtime
from tests.unit.training.test_vae import short
from tests.unit.training.toys import Heard, differing

# Posterior collapse


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The states of the trainings to come."""
    made: list[State] = []

    def make(*arguments: object, **more: object) -> State:
        made.append(State(*arguments, **more))
        return made[-1]

    monkeypatch.setattr(module, "State", make)
    return made


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that does not listen to its latents, so that the posterior has nothing to do but to be the prior."""
    raw = Vae.raw
    monkeypatch.setattr(Vae, "raw", lambda self, latents: raw(self, 0 * latents))


SINKING = {"images": 60 * 16, "learning_rate": 1e-2, "warmup_share": 0.1}


@pytest.mark.usefixtures("deaf")
def test_a_collapsed_posterior_is_warned_of_and_gets_free_nats(states: list[State]) -> None:
    monitor = Heard()

    short(Runtime(monitor=monitor, checkpoint_every_images=30 * 16), **SINKING)

    assert monitor.measured[-1][1]["active_units"] < 0.1
    assert "which is posterior collapse; each now holds 0.05 nats for free (vae.free_bits)" in monitor.warnings[-1]
    assert monitor.warnings[-1].startswith("0% of the VAE's latent dimensions are active after 960 images")
    assert states[0].values["free_nats"].item() == pytest.approx(0.05)


@pytest.mark.usefixtures("deaf")
def test_free_nats_let_the_posterior_leave_the_prior() -> None:
    runtime = Runtime(checkpoint_every_images=10 * 16)

    assert differing(short(runtime, **SINKING), short(runtime, **SINKING, free_bits=0.0))


@pytest.mark.usefixtures("deaf")
def test_no_collapse_is_told_before_the_warm_up_is_over(states: list[State]) -> None:
    monitor = Heard()

    short(Runtime(monitor=monitor, checkpoint_every_images=10 * 16), **SINKING | {"warmup_share": 0.99})

    assert len(monitor.warnings) == 1  # at the end
    assert monitor.measured[0][1]["active_units"] <= 1


@pytest.mark.usefixtures("deaf")
def test_a_collapse_is_told_though_the_budget_is_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from regen.training import engine
    from tests.unit.training.engines import Clock

    clock, monitor, original = Clock(), Heard(), module.Guard.step

    def slow(self: module.Guard, *arguments: object, **options: object) -> None:
        clock.now += 1
        original(self, *arguments, **options)

    monkeypatch.setattr(engine, "time", clock)
    monkeypatch.setattr(module.Guard, "step", slow)

    short(Runtime(monitor=monitor, checkpoint_every_images=30 * 16), **SINKING | {"images": 10**9}, seconds=60.0)

    assert monitor.warnings


def test_free_nats_are_taken_back_once_units_are_active(states: list[State], monkeypatch: pytest.MonkeyPatch) -> None:
    thresholds = iter([2.0, 2.0, -1.0, -1.0])  # always collapsed, then never
    seen: list[float] = []
    monitor = Heard()
    monitor.measure = lambda images, figures: (
        seen.append(states[0].values["free_nats"].item()),
        monkeypatch.setattr(module, "LEAST_ACTIVE", next(thresholds)),
    )

    short(Runtime(monitor=monitor, checkpoint_every_images=5 * 16), warmup_share=0.01)

    assert seen == pytest.approx([0, 0.05, 0.05, 0])
    assert states[0].values["free_nats"].item() == 0
    assert len(monitor.warnings) == 2
