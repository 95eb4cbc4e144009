"""The table VAE: mixed likelihoods, scores that are parts of one whole, explanations, samples in the table's units."""

from dataclasses import replace
from math import log, pi
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal

from regen.core.errors import DataError
from regen.models import storage
from regen.models.cells import Cells, Layout
from regen.models.surprise import Surprise
from regen.models.table_vae import TableVae
from regen.models.vae import gaussian_kl
from tests.unit.models.mixed import LAYOUT, mixed

P = LAYOUT.numeric


def make(layout: Layout = LAYOUT, n_reference: int = 40, neighbours: int = 3, **more: float) -> TableVae:
    """A model with random weights that knows the rows' scales."""
    torch.manual_seed(0)
    vae = TableVae(layout, (16, 8), 4, n_reference, neighbours, draws=2, **more).requires_grad_(False).eval()
    vae.normaliser.fit(mixed().numbers)
    vae.log_sigma.uniform_(-1, 0)
    vae.rarity.fill_(7.0)
    if n_reference:
        reference = mixed(n_reference, 1)
        vae.reference_numbers.copy_(reference.numbers)
        vae.reference_codes.copy_(reference.codes)
        vae.reference_latents.copy_(vae.encode(vae.inputs(reference).slots)[0])
    vae.surprise.fit(vae.score_parts(mixed(50, 2)))
    if vae.supervised_weight:
        vae.head_surprise.fit(vae.log_odds(mixed(50, 2))[None])
    return vae


def test_a_number_costs_what_its_gaussian_says_in_each_view() -> None:
    vae, rows = make(), mixed(5)
    inputs, raw = vae.inputs(rows), torch.randn(5, LAYOUT.slots)

    numbers, _ = vae.nats(inputs, raw)

    z_scores = vae.normaliser.z_scores(rows.numbers).float()[:, :2]  # of those that are never missing
    torch.testing.assert_close(
        numbers[0][:, :2], -Normal(raw[:, :2], vae.log_sigma[:2].exp()).log_prob(z_scores), rtol=1e-4, atol=1e-4
    )
    assert numbers.shape == (3, 5, P)


def test_a_category_costs_what_its_distribution_says() -> None:
    vae, rows = make(), mixed(5)
    raw = torch.randn(5, LAYOUT.slots)

    _, rest = vae.nats(vae.inputs(rows), raw)

    for place, logits in enumerate(vae.split(raw)[2]):
        expected = torch.nn.functional.cross_entropy(logits, rows.codes[:, place], reduction="none")
        torch.testing.assert_close(rest[:, P + place], expected)


def test_a_missing_number_costs_that_it_is_missing_and_nothing_else() -> None:
    vae, rows = make(), mixed(40)
    raw = torch.zeros(40, LAYOUT.slots)
    raw[:, 3 * P] = 2.0
    absent = rows.numbers[:, 2].isnan()

    numbers, rest = vae.nats(vae.inputs(rows), raw)

    assert 0 < absent.sum() < 40
    assert numbers[:, absent, 2].abs().max() == 0
    assert rest[absent, 2].tolist() == pytest.approx([-log(torch.sigmoid(torch.tensor(2.0)))] * int(absent.sum()))
    assert rest[~absent, 2].tolist() == pytest.approx([-log(torch.sigmoid(torch.tensor(-2.0)))] * int((~absent).sum()))


def test_what_training_never_saw_costs_as_much_as_one_in_all_its_rows() -> None:
    vae, rows = make(), mixed(3)
    rows.numbers[0, 0] = torch.nan  # never missing in training
    rows.codes[1, 1] = 4
    rows.codes[2, 1] = -1

    _, rest = vae.nats(vae.inputs(rows), torch.zeros(3, LAYOUT.slots))

    assert [rest[0, 0], rest[1, 4], rest[2, 4]] == [7.0] * 3
    assert vae.anomaly_score(rows).isfinite().all()


def test_the_bound_is_reconstruction_plus_divergence() -> None:
    vae, rows = make(), mixed(5)
    seen = vae.look(rows)

    expected = seen.contributions.sum(dim=1) + gaussian_kl(*vae.encode(vae.inputs(rows).slots))

    torch.testing.assert_close(vae.negative_elbo(rows), expected)


def test_each_views_bound_holds_its_numbers_and_all_other_cells() -> None:
    vae, rows = make(), mixed(5)
    vae.decoder[0].weight.zero_()  # every latent is decoded alike, so the draws do not matter
    inputs = vae.inputs(rows)
    numbers, rest = vae.nats(inputs, vae.decode(torch.zeros(5, 4), inputs.slots))

    seen = vae.look(rows)

    torch.testing.assert_close(seen.views, numbers.sum(dim=2) + rest.sum(dim=1) + seen.divergence)


def test_a_row_has_the_same_score_on_each_call_and_in_each_batch() -> None:
    vae, rows = make(), mixed(1100)
    score = vae.anomaly_score(rows)

    assert torch.equal(vae.anomaly_score(rows), score)
    alone = torch.cat([vae.anomaly_score(rows.take(torch.tensor([row]))) for row in (0, 1023, 1024, 1099)])
    torch.testing.assert_close(alone, score[[0, 1023, 1024, 1099]], rtol=1e-4, atol=1e-4)


def test_scores_and_samples_leave_the_global_generator_alone() -> None:
    vae, before = make(), torch.get_rng_state()

    vae.anomaly_score(mixed(3))
    vae.sample(3, torch.Generator())

    assert torch.equal(torch.get_rng_state(), before)


def test_the_parts_compare_with_the_nearest_reference_rows() -> None:
    vae, rows = make(), mixed(7)

    parts = dict(zip(vae.parts, vae.score_parts(rows), strict=True))

    latents = (vae.encode(vae.inputs(rows).slots)[0][:, None] - vae.reference_latents[None]).norm(dim=2)
    torch.testing.assert_close(parts["latent distance"], latents.sort(dim=1).values[:, :3].mean(dim=1).double())
    torch.testing.assert_close(parts["bound, z-scores"], vae.look(rows).views[0].double())
    for view, (here, there) in enumerate(zip(vae.spaces(rows), vae.spaces(vae.reference), strict=True)):
        expected = (here[:, None] - there[None]).norm(dim=2).sort(dim=1).values[:, :3].mean(dim=1)
        torch.testing.assert_close(parts[f"distance, {('z-scores', 'ranks', 'places')[view]}"], expected)


def test_a_reference_row_itself_is_at_distance_zero() -> None:
    vae = make(neighbours=1)

    parts = dict(zip(vae.parts, vae.score_parts(vae.reference.take(torch.arange(5))), strict=True))

    for name in ("latent distance", "distance, z-scores", "distance, ranks", "distance, places"):
        assert parts[name].tolist() == pytest.approx([0] * 5, abs=2e-3)


def test_the_score_is_the_median_surprise_of_its_parts_and_the_vaes_own_the_mean_of_its_own() -> None:
    vae, rows = make(), mixed(7)
    surprises = vae.surprise(vae.score_parts(rows))

    torch.testing.assert_close(vae.anomaly_score(rows), surprises.median(dim=0).values)
    torch.testing.assert_close(vae.vae_score(rows), surprises[:4].mean(dim=0))


def test_without_neighbours_the_vae_alone_is_asked() -> None:
    vae = make(neighbours=0)

    assert vae.score_parts(mixed(7)).shape == (len(vae.parts), 7) == (4, 7)
    torch.testing.assert_close(vae.anomaly_score(mixed(7)), vae.vae_score(mixed(7)))


def test_a_head_has_its_share_of_the_score() -> None:
    vae, rows = make(supervised_weight=0.25), mixed(7)

    alone = vae.surprise(vae.score_parts(rows)).median(dim=0).values
    learned = vae.head_surprise(vae.log_odds(rows)[None])[0]

    torch.testing.assert_close(vae.anomaly_score(rows), 0.75 * alone + 0.25 * learned)


def test_a_score_above_the_threshold_is_flagged_and_an_uncalibrated_model_flags_nothing() -> None:
    vae = make()

    assert not vae.is_anomaly(torch.tensor([1e30])).any()
    vae.threshold.fill_(1.5)
    assert vae.is_anomaly(torch.tensor([1.4, 1.5, 1.6])).tolist() == [False, False, True]


def test_a_spoilt_cell_is_the_first_that_is_named() -> None:
    vae, rows = make(), mixed(20)
    vae.decoder[-1].weight.mul_(0.01)  # nothing else stands out
    vae.typical.copy_(vae.look(mixed(100, 3)).contributions.mean(dim=0))
    for column, value in ((0, 9e3), (1, -70.0)):
        spoilt = rows.numbers.clone()
        spoilt[:, column] = value

        found = vae.explain(Cells(spoilt, rows.codes), top=2)

        assert found.top[:, 0].tolist() == [column] * 20
        assert found.top.shape == (20, 2)
        assert found.contributions.shape == (20, LAYOUT.columns)
        assert len(found.expected) == 20


def test_contributions_are_in_excess_of_a_normal_rows() -> None:
    vae, rows = make(), mixed(20)
    before = vae.explain(rows).contributions

    vae.typical.add_(1.0)

    torch.testing.assert_close(vae.explain(rows).contributions, before - 1)


def test_what_was_rebuilt_is_in_the_tables_units() -> None:
    rebuilt, rows = make().reconstruct(mixed(2000)), mixed()

    assert torch.equal(rebuilt.numbers[:, 2], rebuilt.numbers[:, 2].round())
    for column in range(P):
        seen = rows.numbers[:, column][~rows.numbers[:, column].isnan()]
        assert seen.min() <= rebuilt.numbers[:, column].min() <= rebuilt.numbers[:, column].max() <= seen.max()
    assert rebuilt.codes.max(dim=0).values.tolist() <= [1, 3]


def test_samples_follow_the_generator_and_are_rows_like_any() -> None:
    vae = make()

    one, same, other = (vae.sample(1100, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))

    torch.testing.assert_close(one.numbers, same.numbers, equal_nan=True, rtol=0, atol=0)
    assert torch.equal(one.codes, same.codes)
    assert not torch.equal(one.codes, other.codes)
    assert 0 < one.numbers[:, 2].isnan().float().mean() < 1
    assert not one.numbers[:, :2].isnan().any()
    assert vae.anomaly_score(one).isfinite().all()


GIVEN = replace(LAYOUT, given=(1, 3))


def test_given_columns_cost_nothing_and_are_seen_by_the_decoder() -> None:
    vae, rows = make(GIVEN), mixed(9)
    others = Cells(rows.numbers * torch.tensor([1.0, -1.0, 1.0]), rows.codes)

    seen = vae.look(rows)

    assert seen.contributions[:, list(GIVEN.given)].abs().max() == 0
    latents = torch.zeros(9, 4)
    assert not torch.equal(vae.decode(latents, vae.inputs(rows).slots), vae.decode(latents, vae.inputs(others).slots))


def test_samples_have_the_columns_that_were_given() -> None:
    vae, rows = make(GIVEN), mixed(50)

    samples = vae.sample(50, torch.Generator(), rows)

    assert torch.equal(samples.numbers[:, 1], rows.numbers[:, 1])
    assert torch.equal(samples.codes[:, 0], rows.codes[:, 0])
    assert not torch.equal(samples.numbers[:, 0], rows.numbers[:, 0])


def test_given_columns_are_drawn_together_from_the_reference_rows() -> None:
    vae = make(GIVEN)

    samples = vae.sample(200, torch.Generator())

    known = {(float(n), int(c)) for n, c in zip(vae.reference_numbers[:, 1], vae.reference_codes[:, 0], strict=True)}
    assert {(float(n), int(c)) for n, c in zip(samples.numbers[:, 1], samples.codes[:, 0], strict=True)} <= known


def test_given_rows_must_be_as_many_as_the_samples() -> None:
    with pytest.raises(DataError, match=r"3 rows are given for 4 samples; give one a sample"):
        make(GIVEN).sample(4, torch.Generator(), mixed(3))


def test_without_reference_rows_given_columns_must_be_passed() -> None:
    vae = make(GIVEN, n_reference=0)

    with pytest.raises(DataError, match=r"no reference rows are kept to draw the given columns from; pass them"):
        vae.sample(4, torch.Generator())


def test_an_infinite_number_is_refused() -> None:
    rows = mixed(3)
    rows.numbers[1, 0] = torch.inf

    with pytest.raises(DataError, match=r"a number is infinite; leave the cell empty"):
        make().anomaly_score(rows)


@pytest.mark.parametrize("layout", [Layout(1), Layout(0, (3,)), Layout(2, (1,), nullable=(0, 1)), GIVEN])
def test_every_kind_of_table_is_scored_explained_and_sampled(layout: Layout) -> None:
    torch.manual_seed(0)
    vae = TableVae(layout, (8,), 2, 5, 2, draws=1).requires_grad_(False)
    rows = Cells(
        torch.randn(6, layout.numeric, dtype=torch.float64), torch.zeros(6, len(layout.sizes), dtype=torch.int64)
    )

    assert vae.anomaly_score(rows).isfinite().all()
    assert vae.explain(rows).top.shape == (6, min(3, layout.columns))
    assert vae.sample(4, torch.Generator()).numbers.shape == (4, layout.numeric)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_a_loaded_model_scores_raw_rows_as_the_saved_one_did(tmp_path: Path, weight: float) -> None:
    vae, rows = make(GIVEN, supervised_weight=weight), mixed(9)
    vae.threshold.fill_(2.0)
    storage.save(tmp_path, "table_vae", vae, **vae.arguments)

    loaded = storage.load(tmp_path, "table_vae")

    assert torch.equal(loaded.anomaly_score(rows), vae.anomaly_score(rows))
    assert loaded.threshold == 2.0
    assert loaded.layout == GIVEN
    assert loaded.arguments == vae.arguments
    assert torch.equal(loaded.sample(5, torch.Generator()).codes, vae.sample(5, torch.Generator()).codes)


def test_the_density_of_a_standard_normal_column_is_its_own() -> None:
    vae = TableVae(Layout(1), (4,), 1).requires_grad_(False)
    vae.normaliser.scale.fill_(1.0)
    raw = torch.zeros(1, 3)

    numbers, _ = vae.nats(vae.inputs(Cells.of_numbers(torch.tensor([[2.0]]))), raw)

    assert numbers[0].item() == pytest.approx(2.0**2 / 2 + 0.5 * log(2 * pi))


def test_the_parts_surprise_is_stored_for_each() -> None:
    assert isinstance(make().surprise, Surprise)
    assert len(make().surprise.quantiles) == len(make().parts) == 11
