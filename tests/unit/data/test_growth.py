"""Data that grows: what was there stays as it is, and the manifest says how much there was."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regen.core import files
from regen.core.errors import DataError
from regen.core.sections.data import DataConfig
from regen.data import growth, sources
from regen.data.growth import append_images, append_rows, as_arrow, grown, rows_at


def test_images_are_written_after_those_that_are_there_with_all_else(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    sources.materialise(DataConfig(max_rows=30), old)
    (old / "quarantine.csv").write_text("path,reason\n")
    new.mkdir()

    append_images(
        old, new, np.full((2, 8, 8, 1), 7, np.uint8), np.array([4, 5]), grown(growth.manifest_of(old), "v", 2, "here")
    )

    found = sources.read(new)
    assert np.array_equal(found.images[:30], sources.read(old).images)
    assert found.labels[30:].tolist() == [4, 5]
    assert (new / "quarantine.csv").read_text() == "path,reason\n"
    assert growth.manifest_of(new)["count"] == 32
    assert growth.manifest_of(new)["ingested"] == [{"before": "v", "rows": 30, "added": 2, "origin": "here"}]


def test_rows_are_written_as_the_types_that_are_there(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    schema = pa.schema(
        [("i", pa.int32()), ("x", pa.float32()), ("t", pa.timestamp("us")), ("b", pa.bool_()), ("c", pa.string())]
    )
    pq.write_table(schema.empty_table(), old / growth.TABLE)
    texts = pd.DataFrame({"i": ["7"], "x": ["1.5"], "t": ["2026-01-01T10:00"], "b": ["true"], "c": [12]})

    append_rows(old, new, texts, {"count": 1})

    table = pq.read_table(new / growth.TABLE)
    assert table.schema.equals(schema)
    (row,) = table.to_pylist()
    assert (row["i"], row["x"], row["b"], row["c"], row["t"].hour) == (7, 1.5, True, "12", 10)
    assert growth.manifest_of(new)["sha256"] == {growth.TABLE: files.sha256(new / growth.TABLE)}


def test_missing_values_stay_missing():
    rows = pd.DataFrame({"i": [None, "3"], "c": ["a", None]})

    found = as_arrow(rows, pa.schema([("i", pa.int64()), ("c", pa.string())]))

    assert found.to_pydict() == {"i": [None, 3], "c": ["a", None]}


def test_a_value_that_does_not_fit_its_column_is_named():
    with pytest.raises(DataError, match="the column i cannot be stored as int8"):
        as_arrow(pd.DataFrame({"i": [1000]}), pa.schema([("i", pa.int8())]))


def test_a_version_that_the_data_did_not_grow_from_is_unknown():
    assert rows_at({"count": 3}, "other.dir", now="this.dir") is None


def test_reading_a_large_file_holds_one_row_group_at_a_time(tmp_path):
    table = pa.table({name: np.random.default_rng(0).random(20_000) for name in "abcd"})
    with pq.ParquetWriter(tmp_path / "large.parquet", table.schema) as writer:
        for _ in range(40):
            writer.write_table(table)
    before = pa.total_allocated_bytes()

    held = [pa.total_allocated_bytes() - before for _ in growth.batches(tmp_path / "large.parquet", 5_000)]

    assert len(held) == 160
    assert max(held) < 8 * table.nbytes
