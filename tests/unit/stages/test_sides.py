"""The two sides of a table: columns, ranks and categories, and rows taken out of batches."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from regen.core import files
from regen.core.config import parse
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.core.workspace import Workspace
from regen.data import growth, splits, table_schema
from regen.data.columns import Column, TableSchema
from regen.data.incoming import typed
from regen.data.shards import TableFile
from regen.registry.versions import Version
from regen.stages import sides
from regen.stages.base import Context
from regen.stages.sides import encoded, take

SCHEMA = TableSchema(
    (
        Column("id", "integer"),
        Column("time", "datetime"),
        Column("amount", "numeric", nullable=True),
        Column("kind", "categorical"),
    ),
    key="id",
    time="time",
)
VERSION = Version("ledger-vae", 1, "", (), {"regen.kind": "vae"}, 0)


def rows(n, factor=1.0, seed=0, kinds="ab"):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "id": range(n), "time": pd.date_range("2026-01-01", periods=n, freq="h"),
        "amount": factor * rng.lognormal(size=n), "kind": rng.choice(list(kinds), n),
    })  # fmt: skip


@pytest.fixture
def context(tmp_path) -> Context:
    """A project of a table that has grown by 100 rows, ten times as large."""
    folder = Workspace(tmp_path).data("ledger")
    folder.mkdir(parents=True)
    pd.concat([rows(300), rows(100, factor=10, seed=1)]).to_parquet(folder / growth.TABLE, index=False)
    files.write_json(folder / growth.MANIFEST, {"count": 400})
    table_schema.save(SCHEMA, tmp_path / "schemas" / "ledger.yaml")
    return Context(Workspace(tmp_path), parse({"project": "ledger", "monitor": {"max_rows": 80}}))


class Amounts:
    """Scores a row by its amount."""

    shape = None
    tells_columns = False

    def __init__(self, column="amount", required=frozenset()):
        self.columns, self.required = {column: "number"}, required

    def predict(self, given):
        scores = given["amount"].to_numpy()
        return {"anomaly_score": scores, "is_anomaly": scores > 20}


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_rows_are_taken_by_number_whatever_the_batches_are(size):
    frame = pd.DataFrame({"a": range(20)})
    batches = (frame.iloc[at : at + size] for at in range(0, 20, size))

    assert take(batches, np.array([0, 4, 5, 19]))["a"].tolist() == [0, 4, 5, 19]


def test_rows_taken_in_since_are_held_against_those_before(context, monkeypatch):
    monkeypatch.setattr(sides.scorers, "open_scorer", lambda version, *rest: Amounts())

    found = sides.look(context, VERSION, 300, None)

    before, after = found.columns
    assert list(before) == ["amount", "kind"]
    assert (len(before), len(after)) == (300, 100)
    assert after["amount"].median() > 5 * before["amount"].median()
    assert [len(side) for side in found.features] == [80, 80]
    assert [len(scores) for scores, _ in found.scores] == [80, 80]


def test_held_out_rows_are_the_newest(context, monkeypatch):
    seen = []
    monkeypatch.setattr(sides, "score_both", lambda champion, before, *rest: seen.append(before))

    sides.look(context, VERSION, 300, None)

    assert seen[0]["id"].min() == round(300 * 0.65)


def test_held_out_rows_are_those_of_the_split_that_the_version_was_trained_with(context, monkeypatch):
    seen = []
    monkeypatch.setattr(sides, "score_both", lambda champion, before, *rest: seen.append(before))
    data = context.config.data
    start = data.extractor_share + 0.1
    version = replace(VERSION, tags={"regen.kind": "vae", "regen.split": f"{data.split_seed}:{start:.6f}"})

    sides.look(context, version, 300, None)

    assert seen[0]["id"].min() == round(300 * 0.9)


@pytest.mark.parametrize("tag", ["7:0.250000", None])
def test_an_image_was_trained_on_as_its_digest_and_the_versions_own_split_say(context, tag):
    digests = [f"{n:064x}" for n in range(500)]
    version = replace(VERSION, tags={"regen.kind": "vae"} | ({"regen.split": tag} if tag else {}))
    data = context.config.data

    found = sides.trained_on(version, digests, context.config)

    own = data if tag is None else DataConfig(extractor_share=0.05, validation_share=0.1, test_share=0.1)
    wanted = splits.assign(digests, own, 7 if tag else data.split_seed)
    assert found.tolist() == [name == "train" for name in wanted]


def test_rows_of_a_file_are_held_against_all(context, tmp_path):
    rows(50, seed=2).to_csv(tmp_path / "new.csv", index=False)

    found = sides.look(
        context, Version("ledger-gan", 1, "", (), {"regen.kind": "gan"}, 0), 400, TableFile.of(tmp_path / "new.csv")
    )

    assert (len(found.columns[0]), len(found.columns[1])) == (400, 50)
    assert found.scores is None


def test_numbers_become_ranks_and_categories_become_columns():
    before = typed(rows(4).assign(amount=[1.0, 2.0, 3.0, 4.0], kind=["a", "a", "a", "b"]), SCHEMA, "old")
    after = typed(rows(3).assign(amount=[2.0, 99.0, None], kind=["b", "never seen", "a"]), SCHEMA, "new")

    old, new = encoded(before, after, SCHEMA)

    assert old[:, 0].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert new[:, 0].tolist() == [0.375, 1.0, 0.5]
    assert new[:, 1].tolist() == [0, 0, 1]  # is missing
    assert new[:, 2].tolist() == [0, 0, 1]  # is a
    assert new[:, 3].tolist() == [1, 0, 0]  # is b


def test_a_model_that_reads_other_columns_gives_no_scores(monkeypatch):
    monkeypatch.setattr(sides.scorers, "open_scorer", lambda version, *rest: Amounts("elsewhere"))

    assert sides.score_both(VERSION, rows(5), rows(5)) is None


def test_rows_that_lack_what_the_model_requires_are_not_scored():
    scorer = Amounts(required=frozenset({"amount"}))
    some = rows(6).assign(amount=[1.0, None, 30.0, None, 2.0, 3.0])

    scores, flags = sides.scores_of(scorer, some, "the new ones")

    assert scores.tolist() == [1.0, 30.0, 2.0, 3.0]
    assert flags.tolist() == [False, True, False, False]


def test_rows_none_of_which_can_be_scored_are_told_with_the_first_reason():
    scorer = Amounts(required=frozenset({"amount"}))

    with pytest.raises(
        DataError,
        match="none of the new ones can be scored, the first because of amount: wanted a finite number up to 1e150, got nothing",
    ):
        sides.scores_of(scorer, rows(3).assign(amount=np.nan), "the new ones")


def test_both_sides_look_back_on_the_projects_rows_and_the_files(context, tmp_path, monkeypatch):
    opened, given = [], []

    class Watched(Amounts):
        def predict(self, some):
            given.append(some.index.tolist())
            return super().predict(some)

    monkeypatch.setattr(sides.scorers, "open_scorer", lambda *asked: opened.append(asked[1:]) or Watched())
    rows(300, seed=2).to_csv(tmp_path / "new.csv", index=False)

    sides.look(context, VERSION, 400, TableFile.of(tmp_path / "new.csv"))

    known = context.workspace.data("ledger") / growth.TABLE
    assert opened == [([known],), ([known], tmp_path / "new.csv")]
    assert len(given[1]) == 80
    assert given[1][-1] == max(given[1]) > 200
