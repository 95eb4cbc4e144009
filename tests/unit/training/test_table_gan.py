"""The loop of the GAN of tables: it learns how columns hang together, each setting moves it, and no interruption leaves a trace."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from regen.core.errors import CollapseError, DeviceError, DivergenceError
from regen.core.sections.table_gan import TableGanConfig
from regen.data.columns import Column
from regen.data.encoding import Encoded, TableEncoder
from regen.models.table_gan import Layout, TableGenerator
from regen.training import table_gan
from regen.training.checkpoints import Checkpoints
from regen.training.draws import Draws
from regen.training.losses import LOSSES
from regen.training.runtime import Runtime
from regen.training.table_calibration import calibrate
from regen.training.table_draws import Balanced, draw_given
from regen.training.table_gan import TrainedTableGan, build, fit_table_gan, train_table_gan
from regen.training.table_moments import Moments
from tests.unit.training.toys import Heard, differing, weights_of

COLUMNS = (
    Column("size", "numeric"), Column("cost", "numeric"), Column("kind", "categorical"), Column("rate", "numeric"),
    Column("bad", "boolean"),
)  # fmt: skip
CONFIG = TableGanConfig(rows=40_000, batch_size=64, width=48, depth=1, latent_dim=8)
SHORT = CONFIG.model_copy(update={"rows": 8 * 64})


@cache
def rows(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """Costs grow with sizes, the kind says which half they are of, and the dear of one kind are bad."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(size=n)
    cost = size * rng.uniform(0.8, 1.2, n)
    kind = np.where(size > 1, "large", "small")
    rate = np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    return pd.DataFrame({"size": size, "cost": cost, "kind": kind, "rate": rate, "bad": cost > 1.5})


@cache
def encoded() -> tuple[TableEncoder, Encoded]:
    encoder = TableEncoder.fit(rows(), COLUMNS)
    return encoder, encoder.transform(rows(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def watched() -> tuple[TrainedTableGan, Heard]:
    monitor = Heard()
    runtime = Runtime(monitor=monitor, log_every_images=4000, checkpoint_every_images=20_000)
    return fit_table_gan(CONFIG, rows(), COLUMNS, 0, runtime, "bad"), monitor


@pytest.fixture(scope="module")
def made(watched: tuple[TrainedTableGan, Heard]) -> pd.DataFrame:
    return sample(watched[0].generator)


def sample(generator: TableGenerator, n: int = 1000, given: dict | None = None) -> pd.DataFrame:
    return generator.sample(n, torch.Generator().manual_seed(0), given)


def distance(moments: Moments, rows: Tensor) -> float:
    return float(moments.distance_of(*moments.sums(rows), len(rows)))


def short(
    runtime: Runtime | None = None, seed: int = 0, label: str | None = "bad", **change: object
) -> dict[str, Tensor]:
    """The weights after a few steps with some settings changed."""
    config = SHORT.model_copy(update=change)
    done = train_table_gan(config, *encoded(), seed, runtime or Runtime(), label)
    return weights_of(generator=done.generator, discriminator=done.discriminator)


def test_columns_hang_together_as_in_the_real_rows(made: pd.DataFrame) -> None:
    assert made[["size", "cost"]].corr("spearman").iloc[0, 1] > 0.9
    assert ((made["size"] > 1) == (made["kind"] == "large")).mean() > 0.9
    assert ((made["cost"] > 1.5) == made["bad"]).mean() > 0.9


def test_each_column_is_distributed_as_in_the_real_rows(made: pd.DataFrame) -> None:
    for name in ("size", "cost", "rate"):
        assert made[name].median() == pytest.approx(rows()[name].median(), rel=0.15, abs=0.15)
    for name in ("kind", "bad"):
        assert (made[name] == rows()[name].iloc[0]).mean() == pytest.approx(
            (rows()[name] == rows()[name].iloc[0]).mean(), abs=0.06
        )
    assert made["rate"].isna().mean() == pytest.approx(rows()["rate"].isna().mean(), abs=0.05)


def test_made_numbers_are_not_those_of_single_rows(made: pd.DataFrame) -> None:
    assert made["size"].isin(rows()["size"]).mean() < 0.02
    assert made[["size", "cost", "rate"]].dropna().merge(rows(), on=["size", "cost", "rate"]).empty


def test_a_given_category_moves_the_other_columns(watched: tuple[TrainedTableGan, Heard]) -> None:
    large, small = (sample(watched[0].generator, 300, {"kind": kind}) for kind in ("large", "small"))

    assert (large["kind"] == "large").all()
    assert large["size"].median() > 1.4 * small["size"].median()


def test_a_given_number_moves_the_other_columns(watched: tuple[TrainedTableGan, Heard]) -> None:
    high, low = (sample(watched[0].generator, 300, {"size": size}) for size in (4.0, 0.3))

    assert (high["size"] == 4.0).all()
    assert high["cost"].median() > 2 * low["cost"].median()
    assert high["bad"].mean() > low["bad"].mean() + 0.3


def test_the_curve_and_the_monitor_are_told(watched: tuple[TrainedTableGan, Heard]) -> None:
    done, monitor = watched

    assert set(done.curve[0]) == {
        "images", "discriminator_loss", "gradient_penalty", "generator_loss", "moments", "label_loss", "confidence",
    }  # fmt: skip
    assert done.curve[-1]["moments"] < 0.5 * done.curve[0]["moments"]
    assert done.curve[-1]["label_loss"] < 0.3
    assert [figures["diversity"] > 0.9 for _, figures in monitor.measured] == [True] * 3
    assert monitor.warnings == []


def test_the_generator_is_frozen_and_the_discriminator_is_free(watched: tuple[TrainedTableGan, Heard]) -> None:
    assert not any(parameter.requires_grad for parameter in watched[0].generator.parameters())
    assert all(parameter.requires_grad for parameter in watched[0].discriminator.parameters())


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3}, {"final_learning_rate": 5e-4}, {"penalty_weight": 3.0}, {"temperature": 1.0},
        {"moments_weight": 0.0}, {"given_share": 0.0}, {"ema_half_life_share": 0.5}, {"batch_size": 32}, {"pac": 4},
        {"width": 16}, {"depth": 2}, {"latent_dim": 4}, {"rows": 12 * 64}, *({"loss": loss} for loss in LOSSES if loss != "r3"),
    ],
    ids=str,
)  # fmt: skip
def test_every_setting_moves_the_result(change: dict) -> None:
    one, other = short(), short(**change)

    same = [name for name in one if name in other and one[name].shape == other[name].shape]
    assert not [n for n in same if n.startswith("generator.net") and "weight" in n and torch.equal(one[n], other[n])]


def test_the_encoding_moves_the_result() -> None:
    quantile, modes = (
        fit_table_gan(SHORT.model_copy(update={"encoding": method}), rows(), COLUMNS, 0, Runtime())
        for method in ("quantile", "modes")
    )

    assert modes.generator.layout.size > quantile.generator.layout.size
    assert list(sample(modes.generator, 5)) == list(rows())


def test_a_generator_without_a_label_has_no_labeller() -> None:
    one, other = short(label="bad"), short(label=None)

    assert {name for name in one if name not in other} == {name for name in one if "labeller" in name}


def test_the_seed_decides_the_weights() -> None:
    one, same, other = short(), short(), short(seed=1)

    assert differing(one, same) == []
    assert differing(one, other)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()

    short()

    assert torch.equal(torch.get_rng_state(), before)


def test_interrupted_equals_uninterrupted(tmp_path: Path) -> None:
    whole = short(Runtime(log_every_images=64, checkpoint_every_images=2 * 64))
    kept = {"log_every_images": 64, "checkpoint_every_images": 2 * 64, "checkpoints": Checkpoints(tmp_path)}
    with pytest.raises(KeyboardInterrupt):
        short(Runtime(monitor=Heard(stops_at=5 * 64), **kept))

    resumed = short(Runtime(**kept))

    assert differing(whole, resumed) == []


def test_a_loss_that_is_not_finite_ends_in_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moments, "distance_of", lambda self, total, *_: total.sum() * float("nan"))
    monitor = Heard()

    with pytest.raises(DivergenceError, match="the generator's loss is nan after 0 images; lower its learning rate"):
        short(Runtime(monitor=monitor))
    assert len(monitor.warnings) == 3


@pytest.fixture
def collapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are all alike."""
    monkeypatch.setattr(table_gan, "diversity", lambda samples, real: 0.1)


@pytest.mark.usefixtures("collapsed")
def test_a_collapse_is_warned_of_and_ends_the_training_where_it_should() -> None:
    monitor = Heard()

    short(Runtime(monitor=monitor, checkpoint_every_images=4 * 64))

    assert monitor.warnings[-1] == (
        "the table GAN's rows differ 0.10 times as much as real ones, which is mode collapse (after 512 rows)"
    )
    with pytest.raises(CollapseError, match="mode collapse; raise its penalty_weight or its moments_weight"):
        short(Runtime(checkpoint_every_images=4 * 64), stop_on_collapse=True)


@pytest.mark.parametrize("names", [["size", "cost"], ["kind", "bad"], ["rate"]])
def test_tables_of_one_kind_of_column_are_learnt_too(names: list[str]) -> None:
    columns = [column for column in COLUMNS if column.name in names]

    done = fit_table_gan(SHORT, rows(), columns, 0, Runtime(), names[-1])

    assert list(sample(done.generator, 7)) == names


@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_a_label_of_0_and_1_is_one_of_classes(dtype: str) -> None:
    numbered = rows().assign(bad=rows()["bad"].astype(dtype))
    columns = [*COLUMNS[:-1], Column("bad", "integer")]

    done = fit_table_gan(SHORT, numbered, columns, 0, Runtime(), "bad")

    assert done.generator.labeller is not None
    made = sample(done.generator, 50, {"bad": 1})
    assert made["bad"].tolist() == [1] * 50
    assert made["bad"].dtype == dtype


def test_a_rare_label_is_as_rare_in_what_is_made() -> None:
    numbered = rows().assign(bad=np.arange(600) < 12)

    done = fit_table_gan(SHORT, numbered, COLUMNS, 0, Runtime(), "bad")

    assert sample(done.generator, 5000)["bad"].mean() == pytest.approx(0.02, abs=0.01)


def test_every_label_is_drawn_as_often_in_balanced_rows() -> None:
    encoder = TableEncoder.fit(rows().assign(bad=np.arange(600) % 20 == 0), COLUMNS)
    found = encoder.transform(rows().assign(bad=np.arange(600) % 20 == 0))
    balanced = Balanced.of(build(SHORT, encoder, 0, "bad")[0], torch.from_numpy(found.codes))

    numbers = balanced.draw(torch.Generator().manual_seed(0), 4000)

    assert (numbers % 20 == 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert len(numbers.unique()) > 550
    assert Balanced.of(build(SHORT, encoder, 0)[0], torch.from_numpy(found.codes)) is None


def test_a_label_of_many_numbers_stays_one_of_numbers() -> None:
    column = Column("size", "numeric")

    assert table_gan.as_classes(column, rows()) == column
    assert table_gan.as_classes(COLUMNS[2], rows()) == COLUMNS[2]


def test_a_batch_that_packs_do_not_fill_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size 256 is no multiple of pac 10"):
        TableGanConfig(pac=10)


def test_columns_are_given_as_often_as_asked_for() -> None:
    given = draw_given(Draws(0, "test"), 4000, 5, 0.4)

    assert given.any(dim=1).float().mean() == pytest.approx(0.4 * 5 / 6, abs=0.03)
    assert given.mean() == pytest.approx(0.2, abs=0.02)
    assert not draw_given(Draws(0, "test"), 100, 5, 0.0).any()


def test_moments_are_those_of_numpy() -> None:
    encoder, found = encoded()
    layout = Layout.of(encoder)
    numbers, codes = torch.from_numpy(found.numbers), torch.from_numpy(found.codes)
    joined = layout.join(numbers, codes)

    moments = Moments.of(layout, numbers, codes)

    assert np.allclose(moments.mean, joined.numpy().mean(axis=0), atol=1e-5)
    assert np.allclose(moments.products, np.corrcoef(joined.numpy().T), atol=1e-4)
    assert distance(moments, joined) == pytest.approx(0, abs=1e-6)


def test_moments_lie_apart_where_columns_do_not_hang_together() -> None:
    encoder, found = encoded()
    layout = Layout.of(encoder)
    numbers, codes = torch.from_numpy(found.numbers), torch.from_numpy(found.codes)
    moments = Moments.of(layout, numbers, codes)
    shuffled = numbers.clone()
    shuffled[:, 0] = shuffled[torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0)), 0]

    assert distance(moments, layout.join(shuffled, codes)) > 0.1


@given(st.integers(1, 99))
def test_sums_over_parts_of_the_rows_add_up_to_those_of_all(cut: int) -> None:
    encoder, found = encoded()
    layout = Layout.of(encoder)
    numbers, codes = torch.from_numpy(found.numbers), torch.from_numpy(found.codes)
    moments, rows = Moments.of(layout, numbers, codes), layout.join(numbers, codes)[:100]

    parts = [moments.sums(some) for some in (rows[:cut], rows[cut:])]

    for whole, *some in zip(moments.sums(rows), *parts, strict=True):
        torch.testing.assert_close(sum(some), whole, rtol=1e-4, atol=1e-3)


def test_a_batch_that_is_not_dealt_out_in_whole_packs_is_refused() -> None:
    config = SHORT.model_copy(update={"batch_size": 24, "pac": 8})
    both = Runtime(fabric=SimpleNamespace(global_rank=0, world_size=2))

    with pytest.raises(
        DeviceError, match="each of 2 devices would get 12 rows of a batch of 24, which are not packed by 8"
    ):
        train_table_gan(config, *encoded(), 0, both)


def test_calibration_brings_an_untrained_generators_columns_to_the_real_ones() -> None:
    encoder, found = encoded()
    generator = build(SHORT, encoder, 0)[0].eval()

    calibrate(generator, found, 0, numbers=True)

    made = sample(generator, 4000)
    for name in ("size", "cost", "rate"):
        levels = [0.1, 0.5, 0.9]
        assert np.allclose(made[name].quantile(levels), rows()[name].quantile(levels), rtol=0.15, atol=0.1)
    assert (made["kind"] == "large").mean() == pytest.approx((rows()["kind"] == "large").mean(), abs=0.03)
    assert made["rate"].isna().mean() == pytest.approx(rows()["rate"].isna().mean(), abs=0.03)
