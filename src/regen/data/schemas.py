"""Schemas: images are validated as a table with one row an image (pandera), all checks at once, each failing row named."""

import hashlib
import math

import numpy as np
import pandas as pd
from jaxtyping import Int64, Shaped, UInt8

from regen.core.errors import Failure, ValidationError
from regen.core.sections.data import DataConfig
from regen.core.sections.models import Likelihood
from regen.data.raw import RawImages

CHUNK = 4096
"""Images that are looked at together, so that a set that is mapped to memory is never in it as a whole."""
SHOWN = 5
"""How many failures the one-line message names; the error holds them all."""


def describe(raw: RawImages) -> pd.DataFrame:
    """One row an image: label, size, dtype, range, contrast, the sha256 of its pixels, whether it repeats an earlier one."""
    n, height, width, channels = raw.images.shape
    parts = [_described(raw.images[at : at + CHUNK]) for at in range(0, n, CHUNK)]
    minimum, maximum, finite = (np.concatenate([part[i] for part in parts] or [np.zeros(0)]) for i in range(3))
    table = pd.DataFrame(
        {
            "label": raw.labels,
            "shape": f"{height}x{width}x{channels}",
            "dtype": str(raw.images.dtype),
            "minimum": minimum.astype(float),
            "maximum": maximum.astype(float),
            "finite": finite.astype(bool),
            "sha256": [digest for part in parts for digest in part[3]],
        }
    )
    table["duplicate"] = table["sha256"].duplicated()
    return table


def _described(images: Shaped[np.ndarray, "n h w c"]) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Minimum, maximum, whether all is finite, and sha256, of each of some images."""
    flat = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    digests = [hashlib.sha256(row.tobytes()).hexdigest() for row in flat]
    if flat.shape[1] == 0:  # no pixels: the shape says so, and the range is that of a blank image
        flat = np.zeros((len(flat), 1), images.dtype)
    whole = np.issubdtype(flat.dtype, np.integer)
    finite = [True] * len(flat) if whole else np.isfinite(flat.astype(np.float64)).all(axis=1)
    return flat.min(axis=1), flat.max(axis=1), np.asarray(finite), digests


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


def require_likelihood(images: UInt8[np.ndarray, "n h w c"], likelihood: Likelihood) -> None:
    """Checks that the images lie where the VAE's likelihood has its support.

    Raises:
        ValidationError: it is bernoulli, and there are pixels other than 0 and 255.
    """
    import pandera.pandas as pa
    from pandera.errors import SchemaError

    if likelihood == "gaussian":
        return
    grey = [bool(((chunk > 0) & (chunk < 255)).any()) for chunk in np.array_split(images, max(len(images) // 1024, 1))]
    schema = pa.SeriesSchema(bool, pa.Check.equal_to(False))
    try:
        schema.validate(pd.Series(grey))
    except SchemaError:
        raise ValidationError(
            "vae.likelihood is bernoulli, which wants pixels of 0 and 255 only, and there are others; set it to gaussian"
        ) from None
