"""Rows: held in memory or mapped from disk they give the same batches, and a step's batch is the step's alone."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.training.draws import Draws
from regen.training.rows import TOGETHER, Batch, Feed, Rows

N = 50
CPU = torch.device("cpu")


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 4, 5, 3), dtype=np.uint8)


INDEX = np.array([3, 1, 44, 7, 9, 12, 30, 31, 32, 2, 49])
CLASSES = np.arange(len(INDEX)) % 3


@pytest.fixture
def mapped(tmp_path: Path) -> Rows:
    np.save(tmp_path / "images.npy", pixels())
    return Rows.of_pixels(np.load(tmp_path / "images.npy", mmap_mode="r"), INDEX, CLASSES, resident_mib=0)


@pytest.fixture
def held() -> Rows:
    return Rows.of_pixels(pixels(), INDEX, CLASSES, resident_mib=1)


@pytest.fixture
def floats() -> Rows:
    images = torch.from_numpy(pixels()[INDEX]).permute(0, 3, 1, 2).float() / 255
    return Rows.of(images, torch.from_numpy(CLASSES))


@pytest.fixture(params=["held", "mapped", "floats"])
def rows(request: pytest.FixtureRequest) -> Rows:
    return request.getfixturevalue(request.param)


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.classes, other.classes)


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("reads ahead")]


def test_rows_stay_in_memory_up_to_the_limit_and_are_mapped_beyond(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", pixels())
    array = np.load(tmp_path / "images.npy", mmap_mode="r")
    size = len(INDEX) * 4 * 5 * 3 / 2**20

    within, beyond = (Rows.of_pixels(array, INDEX, CLASSES, size + extra) for extra in (0.0, -1 / 2**20))

    assert within.mapped is None
    assert within.held.dtype == torch.uint8
    assert beyond.held is None
    assert isinstance(beyond.mapped, np.memmap)


def test_every_kind_of_rows_has_its_length_and_shape(rows: Rows) -> None:
    assert len(rows) == len(INDEX)
    assert rows.shape == (3, 4, 5)


def test_every_kind_of_rows_gives_the_same_batches(rows: Rows, floats: Rows) -> None:
    numbers = torch.tensor([0, 10, 4, 4, 2])

    batch = rows.take(numbers)

    assert same(batch, floats.take(numbers))
    assert batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() <= batch.images.max() <= 1
    assert batch.classes.tolist() == [0, 1, 1, 1, 2]


def test_taking_a_batch_leaves_the_rows_as_they_are(rows: Rows) -> None:
    before = rows.take(torch.arange(len(rows))).images.clone()

    rows.take(torch.arange(5)).images.zero_()

    assert torch.equal(rows.take(torch.arange(len(rows))).images, before)


def test_without_labels_every_row_is_of_class_0() -> None:
    assert Rows.of(torch.zeros(4, 1, 2, 2)).classes.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_chunks_are_all_rows_in_order(rows: Rows, floats: Rows, size: int) -> None:
    chunks = list(rows.chunks(CPU, size))

    assert [len(chunk.images) for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert torch.equal(torch.cat([chunk.images for chunk in chunks]), floats.held)
    assert torch.equal(torch.cat([chunk.classes for chunk in chunks]), floats.classes)


def test_rows_are_thinned_evenly(rows: Rows, floats: Rows) -> None:
    few = rows.thinned(3)

    assert len(few) == 3
    assert same(few.take(torch.arange(3)), floats.take(torch.tensor([0, 5, 10])))


@pytest.mark.parametrize("most", [11, 12, 1000])
def test_few_rows_are_not_thinned(rows: Rows, most: int) -> None:
    assert rows.thinned(most) is rows


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_thinned_rows_are_different_ones_from_end_to_end(n: int, most: int) -> None:
    few = Rows.of(torch.arange(float(n)).reshape(n, 1, 1, 1)).thinned(most)

    numbers = few.held.flatten()
    assert len(numbers) == min(n, most)
    assert (numbers.diff() > 0).all()
    assert numbers[0] == 0
    assert most == 1 or numbers[-1] == n - 1


def feed(rows: Rows, n: int = 6, **share: int) -> Feed:
    return Feed(rows, n, Draws(7, "gan", **share))


def test_every_kind_of_rows_feeds_the_same_steps(held: Rows, mapped: Rows, floats: Rows) -> None:
    feeds = [feed(rows) for rows in (held, mapped, floats)]

    for step in range(8):
        one, two, three = (each.at(step) for each in feeds)
        assert same(one, two)
        assert same(one, three)
    feeds[1].close()


def test_a_steps_batch_is_the_same_in_any_order_and_after_a_new_start(rows: Rows) -> None:
    whole = feed(rows)
    steps = {step: whole.at(step) for step in range(8)}
    resumed = feed(rows)

    assert all(same(resumed.at(step), steps[step]) for step in (5, 6, 7, 2, 3, 7, 0, 0, 4))
    whole.close()
    resumed.close()


def test_steps_differ_and_so_do_purposes(rows: Rows) -> None:
    one, other = feed(rows), Feed(rows, 6, Draws(7, "vae"))

    assert not same(one.at(0), one.at(1))
    assert not same(one.at(0), other.at(0))
    one.close()
    other.close()


def test_a_feed_draws_rows_with_replacement(floats: Rows) -> None:
    drawn = feed(floats, 1000).at(0)

    assert len(drawn.images.unique(dim=0)) == len(floats)


def test_the_batches_of_two_processes_are_the_batch_of_one(rows: Rows) -> None:
    alone, parts = feed(rows, 6), [feed(rows, 3, rank=rank, world=2) for rank in (0, 1)]

    for step in (0, 1, 5):
        batches = [part.at(step) for part in parts]
        joined = Batch(*(torch.cat([getattr(b, what) for b in batches]) for what in ("images", "classes")))
        assert same(joined, alone.at(step))
    for each in (alone, *parts):
        each.close()


def test_a_feed_leaves_the_draws_it_was_given_alone(floats: Rows) -> None:
    draws = Draws(0, "gan").start(3)
    expected = Draws(0, "gan").start(3).normal(4)

    Feed(floats, 6, draws).at(9)

    assert torch.equal(draws.normal(4), expected)


def test_mapped_rows_are_read_ahead_by_a_thread_that_ends_on_close(
    mapped: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = Rows.gather

    def gather(self: Rows, numbers: torch.Tensor) -> torch.Tensor:
        read.append(threading.current_thread().name)
        return original(self, numbers)

    monkeypatch.setattr(Rows, "gather", gather)
    fed = feed(mapped)

    fed.at(0)
    fed.at(TOGETHER)
    during = readers()
    fed.close()

    assert len(during) == 1
    assert readers() == []
    assert set(read) == set(during)
    assert 2 * TOGETHER <= len(read) <= 4 * TOGETHER


def test_rows_in_memory_need_no_thread(held: Rows) -> None:
    fed = feed(held)
    fed.at(0)

    assert readers() == []
    fed.close()


def test_a_read_that_fails_is_met_where_the_batch_is_asked_for(mapped: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Rows, numbers: torch.Tensor) -> torch.Tensor:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Rows, "gather", fail)
    fed = feed(mapped)

    with pytest.raises(OSError, match="Input/output"):
        fed.at(0)
    fed.close()
