"""Latent paths: straight, even, and from end to end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.core.sections.models import GanConfig
from regen.evaluation import latent
from regen.models.vae import Vae
from regen.training import gan as gan_loop


def pixels_of(latents: torch.Tensor) -> torch.Tensor:
    return latents[:, :, None, None] / 255


def test_a_path_leads_from_its_start_to_its_end_in_even_steps() -> None:
    starts, ends = torch.tensor([[0.0], [200.0]]), torch.tensor([[80.0], [100.0]])

    found = latent.straight_paths(pixels_of, starts, ends, steps=5)

    np.testing.assert_array_equal(found.reshape(2, 5), [[0, 20, 40, 60, 80], [200, 175, 150, 125, 100]])


@given(st.integers(1, 5), st.integers(2, 9))
def test_a_path_turned_about_shows_the_same_images_backwards(rows: int, steps: int) -> None:
    ends = torch.randint(0, 256, (2, rows, 1), generator=torch.Generator().manual_seed(rows)).float()

    forth, back = latent.straight_paths(pixels_of, *ends, steps), latent.straight_paths(pixels_of, *ends.flip(0), steps)

    turned = back.reshape(rows, steps)[:, ::-1].astype(int)
    assert np.abs(forth.reshape(rows, steps).astype(int) - turned).max() <= 1  # rounding


@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_a_gan_has_as_many_paths_as_asked_for_and_the_same_ones_for_the_same_seed(classes: tuple[str, ...]) -> None:
    generator = gan_loop.build(GanConfig(network="mlp", width=1, latent_dim=4), (1, 8, 8), 0, classes)[0]

    one, same, other = (latent.gan_paths(generator, seed, rows=3, steps=4) for seed in (0, 0, 1))

    assert one.shape == (12, 8, 8, 1)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_vaes_paths_end_in_reconstructions() -> None:
    torch.manual_seed(0)
    vae = Vae((1, 8, 8), "mlp", 1, 3)
    images = torch.rand(4, 1, 8, 8)

    found = latent.vae_paths(vae, images, steps=3)

    rebuilt = latent.to_pixels(vae.reconstruct(images))
    np.testing.assert_array_equal(found[[0, 3, 2, 5]], rebuilt)


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 30))
def test_places_take_the_classes_in_turn(labels: list[int], wanted: int) -> None:
    found = latent.spread_over_classes(labels, wanted)

    assert len(found) == len(set(found)) == min(wanted, len(labels))
    assert len({labels[place] for place in found}) == min(len(set(labels)), len(found))
