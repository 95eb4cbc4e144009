"""Values that options cannot have are refused by the command itself, before anything is opened."""

import pytest
from click.testing import CliRunner

from flows.cli import cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["votes", "collect", "--days", "nan"], "nan is no finite number"),
        (["votes", "collect", "--days", "inf"], "inf is not in the range"),
        (["votes", "collect", "--days", "-1"], "-1.0 is not in the range"),
        (["sample", "digits-gan", "--n", "-1"], "-1 is not in the range"),
        (["score", "a.csv", "--model", "m", "--output", "b.csv", "--shard-rows", "0"], "0 is not in the range"),
        (["metrics", "a", "b", "--n", "0"], "0 is not in the range"),
    ],
)
def test_a_number_that_is_none_or_out_of_bounds_is_wrong_usage(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, arguments)

    assert done.exit_code == 2
    assert said in done.output
