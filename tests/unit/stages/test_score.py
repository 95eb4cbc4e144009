"""Scoring in shards: every row once, in its order, whatever ends the run in between."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from regen.core.errors import ConfigError, DataError, EvaluationError
from regen.core.workspace import Workspace
from regen.data.shards import open_input
from regen.registry.scorers import ColumnType
from regen.stages import score as module
from regen.stages.score import bars, markdown, require_fit, require_scores, run


@dataclass
class Sums:
    """Scores a row by its column a, an image by its mean; ends as if killed after some calls."""

    shape: tuple[int, int, int] | None = None
    columns: Mapping[str, ColumnType] = field(default_factory=lambda: {"a": "number"})
    required: frozenset[str] = frozenset({"a"})
    tells_columns: bool = False
    history: tuple[str, ...] = ()
    calls: int = 0
    most: int = 10**9

    def predict(self, rows: Any) -> Mapping[str, Any]:
        self.calls += 1
        if self.calls > self.most:
            raise KeyboardInterrupt
        scores = rows["a"].to_numpy() if self.shape is None else rows.mean(axis=(1, 2, 3))
        return {"anomaly_score": scores, "is_anomaly": scores > 5, "top_columns": [["a", "b"]] * len(scores)}


def scored(source: Path, output: Path, scorer: Sums, size: int = 3, told: list | None = None, **plan: Any) -> Any:
    given = open_input(source)
    plan = {"model": "m", "version": 2, "key": "k", "input": given.identity, "shard_rows": size, "format": 1} | plan
    return run(given, scorer, plan, source, output, lambda *far: (told if told is not None else []).append(far))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    pd.DataFrame({"a": range(10), "other": "x"}).to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for i in range(5):
        Image.new("L", (8, 8), 2 * i).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "images" / "2.png").write_bytes(b"no image")
    return tmp_path / "images"


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_every_row_has_its_score_its_flag_and_who_scored_it(rows, tmp_path, ending):
    found = scored(rows, tmp_path / f"out.{ending}", Sums())

    table = read(tmp_path / f"out.{ending}")
    assert list(table) == ["row", "anomaly_score", "is_anomaly", "error", "model", "version"]
    assert table["row"].tolist() == list(range(10))
    assert table["anomaly_score"].tolist() == list(range(10))
    assert table["is_anomaly"].sum() == found.flagged == 4
    assert set(table["model"]) == {"m"} and set(table["version"]) == {2}
    assert (found.rows, found.failed, found.shards, found.found) == (10, 0, 4, 0)


def test_columns_are_told_where_the_model_tells_them(rows, tmp_path):
    scored(rows, tmp_path / "out.csv", Sums(tells_columns=True))

    assert read(tmp_path / "out.csv")["top_columns"].tolist() == ["a, b"] * 10


def test_images_are_scored_by_path_and_a_broken_one_says_why(images, tmp_path):
    found = scored(images, tmp_path / "out.parquet", Sums(shape=(8, 8, 1)))

    table = read(tmp_path / "out.parquet")
    assert table["path"].tolist() == [f"{i}.png" for i in range(5)]
    assert table["anomaly_score"].drop(2).tolist() == [0, 2, 6, 8]
    assert pd.isna(table["anomaly_score"][2]) and pd.isna(table["is_anomaly"][2])
    assert table["error"][2].startswith("no PNG, JPEG")
    assert (found.flagged, found.failed) == (2, 1)


def test_a_row_that_cannot_be_read_is_kept_with_its_reason(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\nx\n9\n")

    found = scored(tmp_path / "rows.csv", tmp_path / "out.csv", Sums())

    table = read(tmp_path / "out.csv")
    assert table["error"].fillna("").tolist() == ["", "a: wanted a finite number up to 1e150, got 'x'", ""]
    assert (found.rows, found.flagged, found.failed, found.reason) == (
        3,
        1,
        1,
        "a: wanted a finite number up to 1e150, got 'x'",
    )
    require_scores(found)


@pytest.mark.parametrize(("value", "met"), [("inf", "'inf'"), ("-Infinity", "'-Infinity'"), ("", "nothing")])
def test_an_infinite_and_an_absent_value_are_not_scored(tmp_path, value, met):
    (tmp_path / "rows.csv").write_text(f"a,b\n1,x\n{value},x\n9,x\n")

    scored(tmp_path / "rows.csv", tmp_path / "out.csv", Sums())

    table = read(tmp_path / "out.csv")
    assert table["error"].fillna("").tolist() == ["", f"a: wanted a finite number up to 1e150, got {met}", ""]
    assert table["anomaly_score"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("size", [1, 3])
def test_an_input_of_which_nothing_could_be_scored_is_an_error_with_the_first_reason(tmp_path, size):
    (tmp_path / "rows.csv").write_text("a\nx\ny\n")

    found = scored(tmp_path / "rows.csv", tmp_path / "out.csv", Sums(), size)

    with pytest.raises(
        DataError, match=r"none of the 2 in .*rows\.csv could be scored, .*wanted a finite number up to 1e150, got 'x'"
    ):
        require_scores(found)
    assert len(read(tmp_path / "out.csv")) == 2


def test_a_batch_of_which_nothing_could_be_scored_fails_and_leaves_its_output(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("a\nx\n")
    (tmp_path / "data" / "p").mkdir(parents=True)
    (tmp_path / "data" / "p" / "rows.parquet").write_bytes(b"")
    opened = []
    version = SimpleNamespace(model="m", number=2, key="k", tags={"regen.project": "p"})
    monkeypatch.setattr(module.tracking, "open_store", lambda workspace: None)
    monkeypatch.setattr(module.versions, "resolve", lambda reference: version)
    monkeypatch.setattr(module.scorers, "open_scorer", lambda *given: opened.append(given) or Sums())

    with pytest.raises(
        DataError, match=r"none of the 1 in .* could be scored, the first because of a: wanted a finite"
    ):
        module.score(Workspace(tmp_path), tmp_path / "rows.csv", "m", tmp_path / "out.csv", 5, lambda *far: None)

    assert read(tmp_path / "out.csv")["error"].tolist() == ["a: wanted a finite number up to 1e150, got 'x'"]
    assert opened == [(version, [tmp_path / "data" / "p" / "rows.parquet"], (tmp_path / "rows.csv").resolve())]


def test_the_scorer_is_told_which_rows_of_the_input_it_has(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\nx\n2\n3\n4\n")
    told = []

    class Telling(Sums):
        def predict(self, rows: Any) -> Mapping[str, Any]:
            told.append(rows.index.tolist())
            return super().predict(rows)

    scored(tmp_path / "rows.csv", tmp_path / "out.csv", Telling())

    assert told == [[0, 2], [3, 4]]


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(rows, tmp_path):
    whole = scored(rows, tmp_path / "whole.parquet", Sums())
    with pytest.raises(KeyboardInterrupt):
        scored(rows, tmp_path / "out.parquet", Sums(most=2))
    assert not (tmp_path / "out.parquet").exists()

    second = Sums()
    found = scored(rows, tmp_path / "out.parquet", second)

    assert (second.calls, found.found) == (2, 2)
    assert found.sha256 == whole.sha256
    assert not list(tmp_path.glob(".out.parquet.parts"))


@pytest.mark.parametrize("damage", ["cut", "gone", "record gone"])
def test_a_damaged_shard_is_done_again(rows, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        scored(rows, tmp_path / "out.parquet", Sums(most=2))
    part = tmp_path / ".out.parquet.parts" / "000000.parquet"
    if damage == "cut":
        part.write_bytes(part.read_bytes()[:-9])
    else:
        (part if damage == "gone" else part.with_suffix(".json")).unlink()

    found = scored(rows, tmp_path / "out.parquet", Sums())

    assert found.found == 1
    assert read(tmp_path / "out.parquet")["row"].tolist() == list(range(10))


@pytest.mark.parametrize("change", [{"version": 3}, {"size": 4}, {"input": "another"}, {"key": "another"}])
def test_another_model_or_input_begins_anew(rows, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        scored(rows, tmp_path / "out.parquet", Sums(most=2))

    assert scored(rows, tmp_path / "out.parquet", Sums(), **change).found == 0


def test_the_same_work_again_does_nothing(rows, tmp_path):
    first = scored(rows, tmp_path / "out.parquet", Sums())

    idle = Sums()
    again = scored(rows, tmp_path / "out.parquet", idle)

    assert idle.calls == 0
    assert (again.sha256, again.found) == (first.sha256, first.shards)


def test_an_output_that_was_changed_is_made_anew(rows, tmp_path):
    scored(rows, tmp_path / "out.csv", Sums())
    (tmp_path / "out.csv").write_text("scribbled over")

    scored(rows, tmp_path / "out.csv", Sums())

    assert len(read(tmp_path / "out.csv")) == 10


def test_what_was_scored_is_recorded_beside_the_output(rows, tmp_path):
    found = scored(rows, tmp_path / "out.csv", Sums())

    record = json.loads((tmp_path / "out.csv.json").read_text())
    assert record["sha256"] == found.sha256
    assert record["plan"]["model"] == "m"


def test_who_watches_is_told_of_each_shard(rows, tmp_path):
    told: list = []

    scored(rows, tmp_path / "out.csv", Sums(), told=told)

    assert told == [("scored", n, 10) for n in (3, 6, 9, 10)]


def test_an_input_without_rows_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n")

    with pytest.raises(DataError, match=r"rows\.csv holds no rows"):
        scored(tmp_path / "rows.csv", tmp_path / "out.csv", Sums())


@pytest.mark.parametrize(
    ("source", "scorer", "error", "words"),
    [
        ("images", Sums(), EvaluationError, "m 2 scores rows of a table, and .* holds images"),
        ("images", Sums(shape=(8, 9, 1)), EvaluationError, "takes images of 8×9, and only squares"),
        ("rows.parquet", Sums(shape=(8, 8, 1)), EvaluationError, "m 2 scores images, and .* is a table"),
        (
            "rows.parquet",
            Sums(columns={"z": "number"}),
            DataError,
            "lacks the columns z, which m 2 reads; it has a, other",
        ),
    ],
)
def test_an_input_that_the_model_cannot_score_is_refused(rows, images, tmp_path, source, scorer, error, words):
    with pytest.raises(error, match=words):
        require_fit(scorer, open_input(tmp_path / source), tmp_path / source, "m 2")


def test_an_output_of_another_kind_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.xlsx; wanted \.parquet or \.csv"):
        module.score(Workspace(tmp_path), tmp_path / "none", "m", tmp_path / "out.xlsx", 5, lambda *far: None)


@pytest.mark.parametrize("name", ["rows.parquet", "sub/../rows.parquet", "link.parquet"])
def test_an_output_that_is_the_input_is_refused(rows, tmp_path, name):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.parquet").symlink_to(rows)
    before = rows.read_bytes()

    with pytest.raises(ConfigError, match="is the input, which would be lost; name another file"):
        module.score(Workspace(tmp_path), rows, "m", tmp_path / name, 5, lambda *far: None)

    assert rows.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.parquet", "rows.parquet", "sub"]


def test_large_images_are_scored_a_few_at_a_time(images, monkeypatch):
    monkeypatch.setattr(module, "BATCH_MIB", 0)
    counting = Sums(shape=(8, 8, 1))

    module.score_images([images / f"{i}.png" for i in range(5)], counting)

    assert counting.calls == 4


def test_what_it_came_to_is_shown_on_prefects_page(rows, tmp_path):
    shown = markdown(scored(rows, tmp_path / "out.csv", Sums()))

    assert shown.startswith("# 4 of 10 flagged")
    assert "**m, version 2**" in shown


def test_a_shards_rows_stay_in_one_file(rows, tmp_path):
    scored(rows, tmp_path / "out.parquet", Sums())

    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_rows == 10
    assert np.isfinite(read(tmp_path / "out.parquet")["anomaly_score"]).all()


@pytest.mark.parametrize("values", [[1e18, 1e18], [1e18, 1e18 + 256], [-1e300, 1e300]])
def test_scores_of_any_size_have_a_line_of_bars(values: list[float]) -> None:
    assert len(bars(np.array(values)).split()[1]) == 32


@pytest.mark.parametrize("changed", ["history", "input"])
def test_a_run_that_goes_on_with_other_contents_begins_anew(tmp_path, monkeypatch, changed):
    source, past, output = tmp_path / "rows.csv", tmp_path / "past.csv", tmp_path / "out.csv"
    source.write_text("a\n" + "1\n" * 6)
    past.write_text("a\n1\n")
    version = SimpleNamespace(model="m", number=2, key="k", tags={})
    scorer = Sums(history=(str(past),), most=1)
    monkeypatch.setattr(module.tracking, "open_store", lambda workspace: None)
    monkeypatch.setattr(module.versions, "resolve", lambda reference: version)
    monkeypatch.setattr(module.scorers, "open_scorer", lambda *given: scorer)

    def score() -> Any:
        return module.score(Workspace(tmp_path), source, "m", output, 3, lambda *far: None)

    with pytest.raises(KeyboardInterrupt):
        score()
    file = past if changed == "history" else source
    stat = file.stat()
    file.write_text(file.read_text().replace("1", "2"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    scorer.most = 10**9

    assert score().found == 0
