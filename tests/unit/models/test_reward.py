"""The reward's networks: Davidson's logits by hand, members that disagree, rewards on the base's scale, a safe round trip."""

from math import exp
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.models import storage
from regen.models.reward import RewardEnsemble, davidson_logits

finite = st.floats(-20, 20)


def ensemble(members: int = 3, network: str = "mlp") -> RewardEnsemble:
    torch.manual_seed(0)
    return RewardEnsemble((1, 8, 8), network, 1, members)


def images(n: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_davidsons_chances_are_those_of_his_paper():
    strong, weak, nu = 3.0, 1.0, 0.5  # worths and the tie parameter: ties go by ν·√(worth·worth)
    total = strong + weak + nu * (strong * weak) ** 0.5
    difference, tie = torch.tensor(strong / weak).log(), torch.tensor(nu).log()

    chances = davidson_logits(difference, tie).softmax(dim=0)

    assert chances.tolist() == pytest.approx([strong / total, weak / total, nu * (strong * weak) ** 0.5 / total])


@given(finite, finite)
def test_turning_a_pair_about_turns_its_chances_about(difference, tie):
    one, other = (davidson_logits(torch.tensor(d), torch.tensor(tie)).softmax(dim=0) for d in (difference, -difference))

    assert one[[1, 0, 2]].tolist() == pytest.approx(other.tolist(), abs=1e-6)


@given(finite)
def test_ties_are_likeliest_between_equals(tie):
    ties = [davidson_logits(torch.tensor(d), torch.tensor(tie)).softmax(dim=0)[2].item() for d in (0.0, 1.0, 4.0)]

    assert ties[0] >= ties[1] >= ties[2]
    assert ties[0] == pytest.approx(exp(tie) / (2 + exp(tie)), rel=1e-4)


@pytest.mark.parametrize("network", ["conv", "mlp", "transformer"])
def test_each_member_rewards_each_image_and_slopes_reach_the_image(network):
    reward, seen = ensemble(network=network), images().requires_grad_(True)

    found = reward(seen)

    assert found.shape == (3, 16)
    found.sum().backward()
    assert (seen.grad.abs().flatten(1).sum(dim=1) > 0).all()


def test_rewards_are_brought_to_the_given_mean_and_scale():
    reward = ensemble()
    raw = reward.raw(images())[0]
    reward.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    reward.scale.fill_(2.0)

    assert torch.allclose(reward(images()), (raw - torch.tensor([[1.0], [2.0], [3.0]])) / 2)


def test_chances_add_up_to_1_and_a_temperature_evens_them():
    reward = ensemble()
    sharp = reward.outcomes(images(), images(seed=1))
    reward.temperature.fill_(100.0)
    even = reward.outcomes(images(), images(seed=1))

    assert sharp.shape == (3, 16, 3)
    assert torch.allclose(sharp.sum(dim=2), torch.ones(3, 16))
    assert (even.max(dim=2).values <= sharp.max(dim=2).values).all()


def test_scores_are_means_over_members_whatever_the_batch():
    reward, many = ensemble(), images(1500)

    assert torch.allclose(reward.score(many), reward(many).mean(dim=0), atol=1e-6)
    assert torch.allclose(reward.unacceptable(many), reward.raw(many)[1].sigmoid().mean(dim=0), atol=1e-6)


def test_a_reward_is_the_same_when_read_back(tmp_path: Path):
    reward = ensemble()
    reward.mean.fill_(0.3)
    reward.temperature.fill_(2.0)

    storage.save(tmp_path, "reward", reward, shape=(1, 8, 8), network="mlp", width=1, members=3)
    read = storage.load(tmp_path, "reward")

    assert torch.equal(read(images()), reward(images()))
    assert torch.equal(read.outcomes(images(), images(seed=1)), reward.outcomes(images(), images(seed=1)))
    assert not any(parameter.requires_grad for parameter in read.parameters())
