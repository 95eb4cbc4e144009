"""What people are shown of a model of a table's rows: each row from its seed, values as JSON has them, named by a digest."""

import hashlib
import json

import numpy as np
import pandas as pd
import torch

from regen.preferences.tables import Kind
from regen.stages import drawing
from regen.stages.drawing import recorded, samples_of
from tests.reviews import rows


class Rows:
    """A model of two columns, one of which may be missing."""

    def sample(self, n, generator):
        numbers = torch.rand(n, generator=generator).numpy()
        return pd.DataFrame({
            "age": (numbers * 80).astype(np.int64), "hours": numbers * 1000 / 7,
            "work": pd.Series(["private"] * n, dtype="category"), "gain": [np.nan] * n, "member": [True] * n,
        })  # fmt: skip


SEEDS = list(range(40))


def test_a_seed_draws_the_same_row_each_time():
    assert samples_of(Rows(), SEEDS) == samples_of(Rows(), SEEDS)
    assert len({row["age"] for row in samples_of(Rows(), SEEDS)}) > 10


def test_a_row_holds_plain_values_and_nothing_where_a_value_is_missing():
    (row,) = samples_of(Rows(), [3])

    assert {name: type(value) for name, value in row.items()} == {
        "age": int, "hours": float, "work": str, "gain": type(None), "member": bool,
    }  # fmt: skip
    assert json.loads(json.dumps(row)) == row
    assert row["hours"] == float(f"{row['hours']:.6g}")


def test_rows_become_samples_known_by_the_digest_of_their_values(tmp_path):
    drawn = samples_of(Rows(), SEEDS)

    samples, spoilt = recorded(tmp_path, "people-gan", 2, drawn, SEEDS, 20, seed=0)

    assert [sample.meta for sample in samples] == drawn
    assert {sample.kind for sample in samples} == {Kind.ROW}
    content = json.dumps(drawn[0], sort_keys=True).encode()
    assert samples[0].sha256 == hashlib.sha256(content).hexdigest()
    assert not list(tmp_path.iterdir())
    assert len(spoilt) == 2


def test_a_spoilt_row_lacks_every_second_value_and_says_nothing_of_it(tmp_path):
    drawn = samples_of(Rows(), SEEDS)

    _, spoilt = recorded(tmp_path, "people-gan", 2, drawn, SEEDS, 20, seed=0)

    for original, copy in spoilt:
        assert list(copy.meta) == list(drawn[original])
        assert [copy.meta[name] for name in ("age", "work", "member")] == [None] * 3
        assert copy.meta["hours"] == drawn[original]["hours"]
        assert copy.sha256 != rows([drawn[original]])[0].sha256


def test_pictures_of_a_model_are_drawn_as_people_see_them():
    class Grey:
        def sample(self, n, generator):
            return torch.full((n, 1, 4, 4), 0.5)

    (pixels,) = samples_of(Grey(), [0])

    assert pixels.shape == (4, 4, 1)
    assert pixels.dtype == np.uint8
    assert (drawing.shuffled(pixels, np.random.default_rng(0)) == pixels).all()
