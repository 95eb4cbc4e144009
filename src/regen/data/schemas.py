"""Schemas: images are validated as a table with one row an image (pandera), all checks at once, each failing row named."""

import hashlib

import numpy as np
import pandas as pd
from jaxtyping import Int64

from regen.core.config import DataConfig
from regen.core.errors import Failure, ValidationError
from regen.data.sources import RawImages

SHOWN = 5
"""How many failures the one-line message names; the error holds them all."""


def describe(raw: RawImages) -> pd.DataFrame:
    """One row an image: label, size, dtype, range, contrast, the sha256 of its pixels, whether it repeats an earlier one."""
    height, width, channels = raw.images.shape[1:]
    flat = raw.images.reshape(len(raw.images), height * width * channels)
    if flat.shape[1] == 0:  # no pixels: the shape says so, and the range is that of a blank image
        flat = np.zeros((len(flat), 1), raw.images.dtype)
    digests = [hashlib.sha256(row.tobytes()).hexdigest() for row in flat]
    finite = np.isfinite(flat.astype(np.float64))
    table = pd.DataFrame(
        {
            "label": raw.labels,
            "shape": f"{height}x{width}x{channels}",
            "dtype": str(raw.images.dtype),
            "minimum": flat.min(axis=1).astype(float),
            "maximum": flat.max(axis=1).astype(float),
            "finite": finite.all(axis=1),
            "sha256": digests,
        }
    )
    table["duplicate"] = table["sha256"].duplicated()
    return table


def validate(raw: RawImages, config: DataConfig) -> pd.DataFrame:
    """The table of `describe`, every row of it sound.

    Raises:
        ValidationError: rows fail; the error lists every failing row with its check.
    """
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

    if len(raw.images) == 0:
        raise ValidationError("the data has no rows; add some, then run 'regen data add'")
    table, classes = describe(raw), list(raw.classes)
    most = config.max_duplicate_share
    schema = pa.DataFrameSchema(
        {
            "label": pa.Column(int, pa.Check.isin(classes, error=f"a label in {classes}")),
            "shape": pa.Column(str, pa.Check.equal_to(wanted := "x".join(map(str, raw.shape)), error=f"shape {wanted}")),
            "dtype": pa.Column(str, pa.Check.equal_to("uint8", error="dtype uint8")),
            "minimum": pa.Column(float, pa.Check.ge(0, error="pixels of at least 0")),
            "maximum": pa.Column(float, [
                pa.Check.le(255, error="pixels of at most 255"),
                pa.Check.gt(0, error="a pixel above 0 (an image that is not blank)"),
            ]),
            "finite": pa.Column(bool, pa.Check.equal_to(True, error="finite pixels")),
            "duplicate": pa.Column(bool, pa.Check(
                lambda repeats: ~repeats if repeats.mean() > most else pd.Series(True, repeats.index),
                error=f"no copy of an earlier row (duplicates are over {most:.0%} of the rows)",
            )),
        },
        checks=pa.Check(
            lambda rows: bool((rows["label"].value_counts().reindex(classes, fill_value=0) >= config.min_per_class).all()),
            error=f"at least {config.min_per_class} rows of each class",
        ),
    )  # fmt: skip
    try:
        schema.validate(table, lazy=True)
        return table
    except SchemaErrors as error:
        failures = tuple(_failures(error.failure_cases, table["label"].to_numpy(), classes))
    shown = "; ".join(map(str, failures[:SHOWN]))
    more = f"; and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    raise ValidationError(
        f"{len(failures)} checks failed: {shown}{more}; mend or remove these rows, or loosen the data section", failures
    )


def _failures(cases: pd.DataFrame, labels: Int64[np.ndarray, " n"], classes: list[int]) -> list[Failure]:
    met = []
    for case in cases.drop_duplicates(subset=["check", "index"]).to_dict("records"):
        row = None if pd.isna(case["index"]) else int(case["index"])
        value = str(case["failure_case"])
        if row is None and "rows of each class" in str(case["check"]):
            counts = {label: int((labels == label).sum()) for label in classes}
            value = ", ".join(f"{n} of class {label}" for label, n in sorted(counts.items(), key=lambda kv: kv[1])[:3])
        met.append(Failure(row, str(case["check"]), value))
    return sorted(met, key=lambda f: (f.check, -1 if f.row is None else f.row))
