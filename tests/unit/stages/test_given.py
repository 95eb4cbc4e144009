"""What `--given` says is read in the type of its column, and refused where no training row could have had it."""

import pandas as pd
import pytest
import torch

from regen.core.errors import DataError
from regen.core.sections.table_gan import TableGanConfig
from regen.data.columns import Column, TableSchema
from regen.data.encoding import TableEncoder
from regen.models.table_gan import TableGenerator
from regen.stages.sample import parse_given
from regen.stages.tables.models import _in_type
from regen.training.table_gan import build

COLUMNS = (
    Column("amount", "numeric"), Column("count", "integer"), Column("due", "datetime"),
    Column("code", "categorical", categories=("010", "no", "true")), Column("flag", "boolean"),
    Column("fraud", "integer", low=0, high=1), Column("note", "numeric", nullable=True),
)  # fmt: skip
ROWS = pd.DataFrame({
    "amount": [0.5, 2.0, 9.75] * 20, "count": [0, 3, 12] * 20,
    "due": pd.to_datetime(["2026-01-01", "2026-02-03", "2026-03-01"] * 20), "code": ["010", "no", "true"] * 20,
    "flag": [True, False, True] * 20, "fraud": [0, 1, 0] * 20, "note": [1.0, None, 2.0] * 20,
})  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> TableGenerator:
    encoder = TableEncoder.fit(ROWS, TableSchema(COLUMNS).columns, "quantile", 0)
    return build(TableGanConfig(width=8), encoder, 0, "fraud")[0].eval()


def drawn(generator: TableGenerator, *words: str) -> pd.DataFrame:
    return generator.sample(5, torch.Generator().manual_seed(0), _in_type(parse_given(words), generator.encoder))


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("amount=5", 5.0), ("count=3", 3), ("count=010", 10), ("due=2026-02-03", pd.Timestamp("2026-02-03")),
        ("due=2026-02-03T01:00:00+01:00", pd.Timestamp("2026-02-03")), ("code=010", "010"), ("code=no", "no"),
        ("code='true'", "true"), ("flag=true", True), ("fraud=1", 1),
    ],
)  # fmt: skip
def test_a_given_value_stands_in_every_row_in_the_columns_type(generator, word, value):
    name, free = word.partition("=")[0], generator.sample(5, torch.Generator().manual_seed(0))

    table = drawn(generator, word)

    assert table[name].tolist() == [value] * 5
    assert table.dtypes.to_dict() == free.dtypes.to_dict()


def test_a_number_that_may_be_missing_can_be_given_as_missing(generator):
    assert drawn(generator, "note=")["note"].isna().all()


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("amount=1e160", "--given amount=1e160: wanted a number of 0.5 to 9.75, as in the training rows"),
        ("amount=-5", "--given amount=-5: wanted a number of 0.5 to 9.75"),
        ("amount=nan", "--given amount=nan: wanted a number"),
        ("amount=much", "--given amount=much: wanted a number"),
        ("amount=", "--given amount=nothing: wanted a number"),
        ("count=3.5", "--given count=3.5: wanted a whole number of 0 to 12"),
        ("count=99", "--given count=99: wanted a whole number of 0 to 12"),
        ("due=yesterday", "--given due=yesterday: wanted a time of 2026-01-01 00:00:00 to 2026-03-01 00:00:00"),
        ("due=0001-01-01", "--given due=0001-01-01: wanted a time of"),
        ("code=perhaps", "--given code=perhaps: no training row had it; wanted one of 010, no, true"),
        ("code=true", "--given code=true: no training row had it; .*; in quotes it is a text: --given \"code='true'\""),
        ("flag=", "--given flag=nothing: no training row had it; wanted one of"),
        ("fraud=2", "--given fraud=2: wanted a whole number of 0 to 1, as"),
    ],
)
def test_a_value_that_no_training_row_could_have_is_refused(generator, word, said, recwarn):
    with pytest.raises(DataError, match=said):
        drawn(generator, word)

    assert not recwarn.list
