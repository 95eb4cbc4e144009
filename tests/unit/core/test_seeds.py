"""Seeds: one for each name, the same every time."""

from hypothesis import given
from hypothesis import strategies as st

from regen.core.seeds import derive


@given(st.integers(0, 2**31 - 1), st.lists(st.text() | st.integers(), max_size=3))
def test_a_seed_is_the_same_every_time_and_has_63_bits(seed: int, names: list[str | int]) -> None:
    derived = derive(seed, *names)

    assert derived == derive(seed, *names)
    assert 0 <= derived < 2**63


def test_other_names_and_other_seeds_give_other_seeds() -> None:
    found = {derive(seed, *names) for seed in range(50) for names in [(), ("vae",), ("gan",), ("vae", "draws")]}

    assert len(found) == 200
