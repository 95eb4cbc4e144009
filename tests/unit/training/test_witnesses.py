"""Witnesses say how far mean features have moved: nothing for the same images, by hand for known features, alike each time."""

import pytest
import torch
from torch import nn

from regen.core.sections.models import ExtractorConfig
from regen.training import witnesses
from regen.training.checkpoints import Checkpoints
from regen.training.rows import Rows
from regen.training.runtime import Runtime
from regen.training.witnesses import COUNT, Witnesses, train_witnesses

SMALL = ExtractorConfig(width=1, features=3, images=640, batch_size=64)


class Mean(nn.Module):
    """Its one feature is twice an image's mean pixel less 1."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.AvgPool1d(16))


@pytest.fixture(scope="module")
def rows():
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(96) % 2
    images = torch.rand(96, 1, 4, 4, generator=rng) * 0.5
    images[classes == 1, :, :, :2] += 0.5
    return Rows.of(images, classes)


@pytest.fixture(scope="module")
def trained(rows):
    return train_witnesses(SMALL, rows, 2, 0, Runtime())


def test_the_shift_is_the_squared_distance_of_mean_features_over_their_spread():
    seen_by = Witnesses([Mean(), Mean()], [0.5, 0.25])
    before, images = torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.6])  # means .2 and .4, features −.6 and −.2

    found = seen_by.shift(images.view(2, 1, 1, 1).expand(2, 1, 4, 4), before.view(2, 1, 1, 1).expand(2, 1, 4, 4))

    assert float(found) == pytest.approx((0.4**2 / 0.5 + 0.4**2 / 0.25) / 2)


def test_what_moves_apart_around_the_same_mean_has_not_shifted():
    before = torch.tensor([0.4, 0.6]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    apart = torch.tensor([0.1, 0.9]).view(2, 1, 1, 1).expand(2, 1, 4, 4)

    assert float(Witnesses([Mean()], [1.0]).shift(apart, before)) == pytest.approx(0, abs=1e-12)


def test_the_same_images_have_not_shifted_and_others_have_with_a_slope(trained):
    images = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    brighter = (images * 0.5 + 0.5).requires_grad_()

    shift = trained.shift(brighter, images)
    shift.backward()

    assert float(trained.shift(images, images)) == 0
    assert float(shift.detach()) > 0
    assert brighter.grad is not None
    assert brighter.grad.abs().sum() > 0


def test_witnesses_are_frozen_differ_from_each_other_and_follow_the_seed(rows, trained):
    again, other = (train_witnesses(SMALL, rows, 2, seed, Runtime()) for seed in (0, 1))

    weights = [[dict(network.state_dict()) for network in one.networks] for one in (trained, again, other)]
    assert len(weights[0]) == COUNT == 2
    assert all((weights[0][0][name] == weights[1][0][name]).all() for name in weights[0][0])
    for mine, theirs in ((weights[0][0], weights[0][1]), (weights[0][0], weights[2][0])):
        assert any((mine[name] != theirs[name]).any() for name in mine)
    assert not any(parameter.requires_grad for network in trained.networks for parameter in network.parameters())


def test_witnesses_come_back_from_their_files(rows, trained, tmp_path):
    assert witnesses.load(tmp_path, rows) is None

    witnesses.save(tmp_path, trained, SMALL, (1, 4, 4), 2)
    found = witnesses.load(tmp_path, rows)

    assert found is not None
    images, before = torch.rand(2, 8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.shift(images, before), trained.shift(images, before))


def test_each_witness_keeps_its_own_checkpoints(rows, tmp_path):
    train_witnesses(SMALL, rows, 2, 0, Runtime(checkpoints=Checkpoints(tmp_path), checkpoint_every_images=320))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["witness-0", "witness-1"]
