"""The first stage with a table: pulled from its source, checked by its schema, and done anew when the schema changes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regen.core import files
from regen.core.config import load
from regen.core.errors import ConfigError, StaleDataError
from regen.core.workspace import Workspace
from regen.data import versions
from regen.stages.base import Context
from regen.stages.prepare import prepare, table
from tests.conftest import REPOSITORY

PROJECT = """\
project: payments
data: {source: transactions, simulator: {customers: 60, terminals: 60, days: 60}, validation_share: 0.2}
tables: {amount: amount}
training: {device: cpu}
"""


@pytest.fixture
def open_table(root: Path) -> Callable[..., Context]:
    """Opens a project of simulated payments in this test's own workspace."""
    (root / "payments.yaml").write_text(PROJECT)
    (root / "schemas").mkdir()
    shutil.copy(REPOSITORY / "schemas" / "transactions.yaml", root / "schemas" / "payments.yaml")

    def call(overrides: dict[str, str] | None = None) -> Context:
        return Context(Workspace(root), load(root / "payments.yaml", overrides))

    return call


def test_a_table_is_pulled_prepared_and_found_again(open_table: Callable[..., Context]) -> None:
    context = open_table()
    versions.pull(context.workspace, "payments", context.config.data)

    first, again = prepare(context), prepare(open_table())

    assert (first.reused, again.reused) == (False, True)
    found = files.read_json(context.results("prepare") / "validation.json")
    assert found["bad_rows"] == 0
    assert table(context).sizes == found["splits"]
    assert found["anomalies"]["train"] == (table(context).labels("train") == 1).sum() > 0
    assert versions.status(context.workspace, "payments").clean


def test_an_edited_schema_prepares_anew_and_another_budget_does_not(
    open_table: Callable[..., Context], root: Path
) -> None:
    context = open_table()
    versions.pull(context.workspace, "payments", context.config.data)
    before = context.key("prepare")

    assert open_table({"tables.vae.rows": "640"}).key("prepare") == before
    assert open_table({"tables.windows_days": "[1]"}).key("prepare") != before
    path = root / "schemas" / "payments.yaml"
    path.write_text(path.read_text().replace("label_delay_days: 7", "label_delay_days: 3"))
    assert open_table().key("prepare") != before


def test_a_table_without_a_schema_is_told_how_to_get_one(open_table: Callable[..., Context]) -> None:
    with pytest.raises(
        ConfigError, match=r"there is no schema .*none\.yaml; infer one by 'regen data schema CONFIG --out"
    ):
        prepare(open_table({"tables.schema_file": "none.yaml"}))


def test_payments_simulated_with_other_settings_are_stale(open_table: Callable[..., Context]) -> None:
    context = open_table()
    versions.pull(context.workspace, "payments", context.config.data)

    with pytest.raises(StaleDataError, match=r"data\.simulator\.seed is 5, but data/payments was made with 0; remove"):
        prepare(open_table({"data.simulator.seed": "5"}))
