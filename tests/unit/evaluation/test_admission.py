"""Self-tests admit an extractor that sees damage and missing modes, and refuse one that is blind to either."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regen.core.errors import EvaluationError
from regen.evaluation.admission import LARGEST, Ladder, _dropped, examine, require_admitted
from regen.evaluation.frechet import Features


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Bright bands at one of four heights over dim noise, and which."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    images = rng.integers(0, 60, (400, 8, 8, 1), dtype=np.uint8)
    for row, label in enumerate(labels):
        images[row, 2 * label : 2 * label + 2] += 150
    return images, labels


def seeing(pixels: np.ndarray) -> Features:
    """The mean of each line and how uneven it is."""
    lines = pixels[..., 0] / 255.0
    return np.concatenate([lines.mean(axis=2), lines.std(axis=2)], axis=1)


def blind_to_modes(pixels: np.ndarray) -> Features:
    """How uneven lines are, wherever they stand."""
    lines = pixels[..., 0].astype(float) - pixels[..., 0].mean(axis=2, keepdims=True)
    return np.stack([np.abs(lines).mean(axis=(1, 2)), np.square(lines).mean(axis=(1, 2)) / 255], axis=1)


def blind_to_all(pixels: np.ndarray) -> Features:
    """Numbers that have nothing to do with the images."""
    return np.random.default_rng(len(pixels)).standard_normal((len(pixels), 3))


def test_features_that_see_the_images_are_admitted(rows):
    found = examine(seeing, *rows, seed=0)

    require_admitted(found, images=1)
    assert found.failed == []
    assert [ladder.name for ladder in found.ladders] == ["rising noise", "rising blur", "dropped classes"]
    assert found.rows == 200


def test_the_floor_is_the_first_rung_and_far_below_the_last(rows):
    found = examine(seeing, *rows, seed=0)

    for ladder in found.ladders[:2]:
        assert ladder.distances[0] == found.floor
    assert all(ladder.distances[-1] > 10 * ladder.distances[0] for ladder in found.ladders)


def test_features_that_have_nothing_to_do_with_the_images_are_refused(rows):
    found = examine(blind_to_all, *rows, seed=0)

    assert {ladder.name for ladder in found.failed} >= {"rising noise", "rising blur"}
    with pytest.raises(
        EvaluationError, match=r"not fit to judge: rising noise gives .*raise extractor\.images, now 1,280"
    ):
        require_admitted(found, images=1280)


def test_features_that_see_damage_and_no_modes_are_refused_for_the_modes(rows):
    found = examine(blind_to_modes, *rows, seed=0)

    with pytest.raises(EvaluationError, match=r"not fit to judge: .*dropped classes gives"):
        require_admitted(found, images=64)


def test_without_classes_clusters_of_similar_images_are_dropped(rows):
    images, labels = rows

    found = examine(seeing, images, np.zeros_like(labels), seed=0)

    assert found.modes == "clusters"
    assert found.ladders[-1].name == "dropped clusters"
    require_admitted(found, images=1)


def test_the_same_seed_climbs_the_same_ladders(rows):
    one, same, other = (examine(seeing, *rows, seed) for seed in (0, 0, 1))

    assert one == same != other


def test_no_more_rows_are_used_than_are_needed(rows):
    images, labels = (np.concatenate([part] * 4) for part in rows)
    seen = []

    def watching(pixels: np.ndarray) -> Features:
        seen.append(len(pixels))
        return seeing(pixels)

    found = examine(watching, images, labels, seed=0)

    assert set(seen) == {LARGEST}
    assert found.rows == LARGEST // 2


def test_features_that_are_no_numbers_are_refused(rows):
    with pytest.raises(EvaluationError, match="NaN or infinity"):
        examine(lambda pixels: seeing(pixels) * np.nan, *rows, seed=0)


@pytest.mark.parametrize("distances", [(1.0, 1.0), (2.0, 1.0), (1.0, float("nan")), (1.0, 3.0, 2.0)])
def test_a_ladder_that_stands_still_or_falls_is_out_of_order(distances):
    assert not Ladder("rising noise", distances, distances).in_order


@given(st.integers(2, 200))
def test_every_rung_leaves_out_more_classes_and_never_all(n):
    counts = _dropped(n)

    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert 1 <= counts[1] <= counts[-1] <= max(n // 2 + 1, 1)
    assert counts[-1] < n


def test_what_was_found_becomes_plain_values(rows):
    plain = examine(seeing, *rows, seed=0).to_json()

    assert set(plain) == {"floor", "rows", "modes", "ladders"}
    assert all(ladder["in_order"] for ladder in plain["ladders"])
