"""What is learned from votes and what looks at the model that is tuned: sides of the split, images as seen, expected wins."""

import pytest
import torch

from regen.core import files
from regen.core.errors import RegistryError
from regen.core.sections.alignment import RewardConfig
from regen.core.workspace import Workspace
from regen.models.reward import RewardEnsemble
from regen.preferences.reward import disagreement
from regen.preferences.votes import Votes
from regen.stages import learn, review, tune
from regen.stages.alignment import Alignment
from tests.unit.registry.conftest import made_store, store  # noqa: F401  # fixtures
from tests.unit.stages.test_alignment import voted

SHAPE = (1, 8, 8)


def ensemble(seed=0):
    torch.manual_seed(seed)
    return RewardEnsemble(SHAPE, "mlp", 1, 2).requires_grad_(False)


def images(n, seed=0):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_the_judge_learns_where_the_reward_is_tested_and_is_tested_where_it_learns():
    held_out = torch.tensor([True, False, False])
    nobody = torch.zeros(3, dtype=torch.bool)
    votes = Votes(images(3), images(3, 1), torch.tensor([-1, 0, 1]), nobody, nobody, ~nobody, held_out)

    turned = learn.turned(votes)

    assert turned.held_out.tolist() == [False, True, True]
    assert (turned.choice == votes.choice).all()


def test_images_are_seen_as_8_bits_show_them():
    found = learn.seen(torch.tensor([-0.2, 0.5004, 1.3]).view(3, 1, 1, 1))

    assert found.flatten().tolist() == pytest.approx([0, 128 / 255, 1])


def test_an_ensemble_comes_back_from_its_folder(tmp_path):
    learn.save(tmp_path, ensemble(), RewardConfig(network="mlp", width=1, members=2), SHAPE)

    torch.testing.assert_close(learn.load(tmp_path)(images(4)), ensemble()(images(4)))


def test_before_anything_was_learned_there_is_no_newest_reward(tmp_path):
    assert review.newest_reward(Workspace(tmp_path), "digits", "digits-gan") is None


def test_the_newest_reward_is_that_of_the_models_votes_and_says_what_a_vote_would_teach(tmp_path):
    folder = Workspace(tmp_path).outputs("digits") / "learn_gan"
    learn.save(folder, ensemble(), RewardConfig(network="mlp", width=1, members=2), SHAPE)
    files.write_json(folder / "report.json", {"model": "digits-gan"})

    found = review.newest_reward(Workspace(tmp_path), "digits", "digits-gan@champion")

    assert found is not None
    torch.testing.assert_close(found(images(4), images(4, 1)), disagreement(ensemble(), images(4), images(4, 1)))
    assert review.newest_reward(Workspace(tmp_path), "digits", "digits-vae/2") is None


def test_wins_that_are_expected_of_an_image_and_of_the_other_add_up_to_one_vote():
    judge, mine, others = ensemble(), images(16), images(16, 1)

    wins, losses = tune.expected_wins(judge, mine, others), tune.expected_wins(judge, others, mine)

    assert wins.shape == (2, 16)
    torch.testing.assert_close(wins + losses, torch.ones(2, 16))
    torch.testing.assert_close(tune.expected_wins(judge, mine, mine), torch.full((2, 16), 0.5))


def test_a_model_that_was_registered_without_its_discriminator_cannot_be_tuned(open_project, store):  # noqa: F811
    base = store.register("digits-gan", "gan")

    with pytest.raises(RegistryError, match=f"digits-gan/{base.number} was registered without its discriminator"):
        tune.discriminator_of(Alignment(open_project(), base, voted()))
