"""The networks of the GAN of tables: rows are whole, given columns stay as given, and a saved generator makes the same rows."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from regen.core.errors import ConfigError, DataError
from regen.data.columns import Column
from regen.data.encoding import Method, TableEncoder
from regen.models import storage
from regen.models.table_gan import Layout, TableDiscriminator, TableGenerator

COLUMNS = (
    Column("amount", "numeric"), Column("kind", "categorical"), Column("rate", "numeric"), Column("day", "datetime"),
    Column("bad", "boolean"),
)  # fmt: skip


def rows(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(size=n).round(2), "kind": rng.choice(["x", "y", "z"], n),
            "rate": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "bad": rng.random(n) < 0.2,
        }
    )  # fmt: skip


@cache
def encoder(method: Method = "quantile") -> TableEncoder:
    return TableEncoder.fit(rows(), COLUMNS, method)


def untrained(method: Method = "quantile", label: str | None = "bad") -> TableGenerator:
    torch.manual_seed(0)
    return TableGenerator(encoder(method).to_json(), 8, 1, 4, 0.5, label).eval()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def encoded(n: int = 6) -> tuple[Layout, Tensor]:
    layout, found = Layout.of(encoder()), encoder().transform(rows(n))
    return layout, layout.join(torch.from_numpy(found.numbers), torch.from_numpy(found.codes))


def test_a_layout_knows_where_each_column_stands() -> None:
    layout = Layout.of(encoder())

    assert layout.n_numbers == 3
    assert layout.sizes == (3, 2, 2)
    assert layout.owners == (0, 2, 3, 1, 1, 1, 2, 2, 4, 4)
    assert layout.offsets == (3, 6, 8)
    assert layout.masks == ((1, 7),)
    assert layout.of_column(4) == slice(8, 10)


def test_joined_rows_are_split_into_what_they_were() -> None:
    found = encoder().transform(rows())
    layout, joined = encoded(300)

    parted = layout.split(joined)

    assert np.array_equal(parted.numbers, found.numbers)
    assert np.array_equal(parted.codes, found.codes)
    assert joined[:, 3:].sum(dim=1).tolist() == [3.0] * 300


def test_codes_are_drawn_whole_and_gradients_pass_through_them() -> None:
    made = untrained()
    layout, known = encoded()
    noise = torch.rand(6, 7, generator=seeded())

    found = made(torch.randn(6, 4, generator=seeded()), noise, known, torch.zeros(6, 5))
    found[:, 3].sum().backward()

    assert set(found[:, 3:].detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    assert all(part.sum(dim=1).allclose(torch.ones(6)) for part in found[:, 3:].split(layout.sizes, dim=1))
    assert made.net.first.weight.grad.abs().sum() > 0


def test_the_number_of_a_missing_value_is_0() -> None:
    made = untrained()

    found = made(torch.randn(200, 4), torch.rand(200, 7), torch.zeros(200, 10), torch.zeros(200, 5)).detach()

    missing = found[:, 7] > 0.5
    assert 0 < missing.sum() < 200
    assert (found[missing, 1] == 0).all()
    assert (found[~missing, 1] != 0).all()


def test_given_columns_are_handed_on() -> None:
    made = untrained()
    _, known = encoded()
    given = torch.tensor([[1.0, 0, 1, 0, 1]]).repeat(6, 1)

    found = made(torch.randn(6, 4), torch.rand(6, 7), known, given)

    kept = [place for place, owner in enumerate(made.layout.owners) if owner in (0, 2, 4)]
    assert torch.equal(found[:, kept], known[:, kept])


def test_what_is_not_given_is_not_seen() -> None:
    made = untrained()
    _, known = encoded()
    latents, given = torch.randn(6, 4), torch.zeros(6, 5)

    assert torch.equal(made.raw(latents, known, given), made.raw(latents, 0 * known, given))


@pytest.mark.parametrize("method", ["quantile", "modes"])
def test_samples_are_rows_of_the_table(method: Method) -> None:
    train = rows()

    made = untrained(method).sample(50, seeded())

    assert len(made) == 50
    assert list(made.dtypes) == list(train.dtypes)
    assert made["amount"].between(train["amount"].min(), train["amount"].max()).all()
    assert set(made["kind"]) <= {"x", "y", "z"}


def test_one_seed_makes_the_same_rows_and_another_others() -> None:
    one, same, other = (untrained().sample(20, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))

    pd.testing.assert_frame_equal(one, same)
    assert not one.equals(other)


def test_asked_for_values_are_given_exactly() -> None:
    given = {"kind": "y", "amount": 1.23, "bad": True}

    made = untrained().sample(30, seeded(), given)

    assert all((made[name] == value).all() for name, value in given.items())
    assert made["rate"].nunique() > 5


def test_each_row_can_be_given_its_own_values() -> None:
    given = rows(40)[["day", "rate"]].set_index(np.arange(100, 140))

    made = untrained().sample(40, seeded(), given)

    pd.testing.assert_frame_equal(made[["day", "rate"]], given.reset_index(drop=True))


def test_the_label_is_drawn_by_the_labeller_and_kept_where_it_is_given() -> None:
    made = untrained()
    with torch.no_grad():
        made.labeller.net[-1].bias[:] = torch.tensor([-50.0, 50.0])

    assert made.sample(50, seeded())["bad"].all()
    assert not made.sample(50, seeded(), {"bad": False})["bad"].any()
    assert not untrained(label=None).sample(50, seeded())["bad"].all()


def test_the_label_is_drawn_without_a_look_at_the_label() -> None:
    made = untrained()
    _, known = encoded()
    other = known.clone()
    other[:, 8:] = 1 - other[:, 8:]

    assert torch.equal(made.label_logits(known), made.label_logits(other))


def test_a_label_of_numbers_has_no_draw_of_its_own() -> None:
    assert untrained(label="amount").labeller is None


def test_a_pack_has_one_logit() -> None:
    judge = TableDiscriminator(10, 5, 8, 1, pac=3)
    _, known = encoded(6)

    logits = judge(known, torch.zeros(6, 5))

    assert logits.shape == (2,)
    assert not torch.equal(logits, judge(known, torch.ones(6, 5)))


@pytest.mark.parametrize("method", ["quantile", "modes"])
def test_a_saved_generator_makes_the_same_rows(tmp_path: Path, method: Method) -> None:
    made = untrained(method)
    made.shift.copy_(torch.randn(made.shift.shape))
    made.real.copy_(made.real + 0.1)

    storage.save(tmp_path, "table_generator", made, **made.arguments)
    loaded = storage.load(tmp_path, "table_generator")

    pd.testing.assert_frame_equal(loaded.sample(20, seeded()), made.sample(20, seeded()))
    assert loaded.encoder == made.encoder


def test_a_saved_discriminator_judges_the_same(tmp_path: Path) -> None:
    judge = TableDiscriminator(10, 5, 8, 1, pac=2)
    _, known = encoded()

    storage.save(tmp_path, "table_discriminator", judge, **judge.arguments)
    loaded = storage.load(tmp_path, "table_discriminator")

    assert torch.equal(loaded(known, torch.zeros(6, 5)), judge(known, torch.zeros(6, 5)))


def test_a_damaged_encoding_is_refused(tmp_path: Path) -> None:
    made = untrained()
    storage.save(tmp_path, "table_generator", made, **made.arguments | {"encoding": [{"name": "a"}]})

    with pytest.raises(DataError, match=r"the table_generator in .* cannot be loaded"):
        storage.load(tmp_path, "table_generator")


def test_a_column_that_is_not_there_cannot_be_given() -> None:
    with pytest.raises(ConfigError, match="the table has no column size that could be given; it has amount, kind"):
        untrained().sample(3, seeded(), {"size": 3})


def test_as_many_given_rows_as_wanted_ones_are_needed() -> None:
    with pytest.raises(ConfigError, match="3 rows need as many given ones, got 5; give one value a column, or 3 rows"):
        untrained().sample(3, seeded(), rows(5)[["kind"]])


def test_a_value_that_no_row_had_cannot_be_given() -> None:
    with pytest.raises(DataError, match="the column kind holds 'w', which it did not when it was fitted"):
        untrained().sample(3, seeded(), {"kind": "w"})


@pytest.mark.parametrize("value", ["maybe", 2, 0.5])
def test_what_is_no_truth_value_cannot_be_given_as_one(value: object) -> None:
    with pytest.raises(DataError, match=r"the column bad holds '.*', .*wanted one of False, True"):
        untrained().sample(3, seeded(), {"bad": value})


@pytest.mark.parametrize("value", ["yes", 0.5, 3])
def test_a_number_that_is_no_category_cannot_be_given_as_one(value: object) -> None:
    frame = pd.DataFrame({"amount": [1.0, 2.0, 3.0], "fraud": [0, 1, 0]})
    coded = TableEncoder.fit(frame, (COLUMNS[0], Column("fraud", "categorical", categories=("0", "1"))))
    made = TableGenerator(coded.to_json(), 8, 1, 4, 0.5, "fraud").eval()

    assert made.sample(3, seeded(), {"fraud": 1.0})["fraud"].tolist() == [1, 1, 1]
    with pytest.raises(DataError, match=f"the column fraud holds '{value}', .*wanted one of 0, 1"):
        made.sample(3, seeded(), {"fraud": value})
