"""Draws: a step and a purpose decide them alone, and two processes' shares are one process's draws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regen.training.draws import Draws

KINDS = {
    "normal": lambda draws, n: draws.normal(n, 3),
    "uniform": lambda draws, n: draws.uniform(n, 2, 1),
    "integers": lambda draws, n: draws.integers(1000, n, 2),
    "kept": lambda draws, n: draws.kept(n, 0.5, 40),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
@given(st.integers(0, 10**6), st.integers(0, 2**40))
def test_a_step_has_the_same_numbers_whenever_it_is_asked_for(kind, step: int, seed: int) -> None:
    draws = Draws(seed, "latents")
    first = kind(draws.start(step), 4)
    kind(draws.start(step + 1), 40)

    assert torch.equal(kind(draws.start(step), 4), first)
    assert torch.equal(kind(Draws(seed, "latents").start(step), 4), first)


@every_kind
def test_other_steps_purposes_and_seeds_have_other_numbers(kind) -> None:
    found = [
        kind(Draws(seed, purpose).start(step), 6)
        for seed in (0, 1)
        for purpose in ("latents", "rows")
        for step in (0, 1, 7)
    ]

    assert not any(torch.equal(one, other) for i, one in enumerate(found) for other in found[:i])


def test_numbers_go_on_within_a_step() -> None:
    draws = Draws(0, "latents").start(3)

    assert not torch.equal(draws.normal(4), draws.normal(4))


def test_a_new_stream_stands_at_step_0() -> None:
    assert torch.equal(Draws(0, "latents").normal(4), Draws(0, "latents").start(0).normal(4))


@every_kind
@given(world=st.integers(2, 5), n=st.integers(1, 6), step=st.integers(0, 100))
def test_the_shares_of_all_processes_are_the_draws_of_one(kind, world: int, n: int, step: int) -> None:
    alone = Draws(0, "latents").start(step)
    ranks = [Draws(0, "latents", rank=rank, world=world).start(step) for rank in range(world)]

    for _ in range(2):  # the next draws of the step too
        assert torch.equal(torch.cat([kind(one, n) for one in ranks]), kind(alone, world * n))


def test_numbers_lie_where_they_should() -> None:
    draws = Draws(0, "latents")
    normal, uniform, integers = draws.normal(20_000), draws.uniform(20_000), draws.integers(5, 20_000)
    kept = draws.kept(20_000, 0.7)

    assert (normal.mean().item(), normal.std().item()) == pytest.approx((0, 1), abs=0.03)
    assert (uniform.min() >= 0) and (uniform.max() < 1)
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
    assert integers.dtype == torch.int64
    assert integers.unique().tolist() == [0, 1, 2, 3, 4]
    assert kept.unique().tolist() == [0, 1]
    assert kept.mean().item() == pytest.approx(0.7, abs=0.02)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()

    Draws(0, "latents").start(4).normal(3)

    assert torch.equal(torch.get_rng_state(), before)


@given(world=st.integers(1, 5), n=st.integers(1, 6), first=st.integers(0, 30))
def test_each_process_gets_its_part_of_what_is_drawn_for_the_first_rows_of_the_batch(
    world: int, n: int, first: int
) -> None:
    drawn = torch.arange(min(first, world * n))

    parts = [Draws(0, "latents", rank=rank, world=world).share(drawn, n) for rank in range(world)]

    assert torch.equal(torch.cat(parts), drawn)
