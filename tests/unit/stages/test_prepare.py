"""What prepare writes of data that is recorded, and what it refuses."""

import shutil

import numpy as np
import pytest

from regen.core.errors import StaleDataError
from regen.core.sections.data import DataConfig
from regen.data import versions
from regen.stages.prepare import dataset, prepare
from tests.unit.stages.conftest import Open


def test_the_prepared_rows_are_mapped_to_memory_with_the_names_of_their_classes(open_project: Open) -> None:
    context = open_project()

    prepare(context)

    rows = dataset(context)
    assert isinstance(rows.images, np.memmap)
    assert rows.images.shape == (1797, 8, 8, 1)
    assert int(rows.images.max()) == 255
    assert rows.class_names == {label: str(label) for label in range(10)}


def test_data_made_with_other_settings_is_refused_by_the_stage_itself(open_project: Open) -> None:
    with pytest.raises(StaleDataError, match=r"data\.max_rows is 500, but data/digits was made with all rows"):
        prepare(open_project({"data.max_rows": "500"}))


def test_data_that_was_made_anew_is_prepared(open_project: Open) -> None:
    context = open_project({"data.max_rows": "1000"})
    shutil.rmtree(context.workspace.data("digits"))
    versions.pull(context.workspace, "digits", DataConfig(max_rows=1000))

    prepare(context)

    assert len(dataset(context).images) == 1000
