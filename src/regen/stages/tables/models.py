"""The trained models of a table, from a stage's results or from the registry, and rows drawn from them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from regen.core import files
from regen.core.errors import ConfigError, DataError
from regen.data.codebook import UNKNOWN
from regen.data.encoding import SHOWN, CategoryColumn, NumberColumn, TableEncoder
from regen.data.tables import FINITE, LARGEST, Table
from regen.models import storage
from regen.models.cells import Cells
from regen.models.table_gan import as_number
from regen.models.table_scorer import TableScorer
from regen.registry import packaging
from regen.registry.versions import Version

GENERATOR, DISCRIMINATOR = "table_generator", "table_discriminator"
ENDINGS = (".csv", ".parquet")


def load_model(kind: str, folder: Path) -> Any:
    """The VAE with all that scoring needs, or the generator.

    Raises:
        DataError: a file is missing or damaged.
    """
    return TableScorer.load(folder) if kind == "vae" else storage.load(folder, GENERATOR)


def registered(kind: str, source: str) -> Any:
    """The same of the model at a registered address.

    Raises:
        RegistryError: there is no such model, or its files are gone or damaged.
    """
    return packaging.whole(source, lambda folder: load_model(kind, folder))


def is_of_rows(version: Version) -> bool:
    """Whether a registered model is of rows, not of images."""
    return version.tags.get("regen.of") == "rows"


def sample_rows(version: Version, n: int, seed: int, out: Path, given: Mapping[str, Any]) -> None:
    """Writes `n` synthetic rows to a CSV or Parquet file.

    Args:
        given: values of columns that all of them shall have.

    Raises:
        ConfigError: `out` ends as another kind of file, or a column cannot be given.
        DataError: a given value is none that the training rows had.
        RegistryError: the model's files are gone or damaged.
    """
    if not out.name.lower().endswith(ENDINGS):
        raise ConfigError(
            f"--out {out} ends in {out.suffix or 'nothing'}; name a file that ends in {' or '.join(ENDINGS)}"
        )
    model, rng = registered(version.kind, version.uri), torch.Generator().manual_seed(seed)
    of_gan = version.kind == "gan"
    frame = (
        model.sample(n, rng, _in_type(given, model.encoder) or None)
        if of_gan
        else _of_vae(model, n, rng, given, version.model)
    )
    with files.replacing(out) as temporary:
        if out.suffix.lower() == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)


def _in_type(given: Mapping[str, Any], encoder: TableEncoder) -> dict[str, Any]:
    """The values in the types of their columns.

    Raises:
        DataError: no training row had, or could have had, one of them.
    """
    columns = {column.name: column for column in encoder.columns}
    return {name: _read(columns[name], value) if name in columns else value for name, value in given.items()}


def _read(column: NumberColumn | CategoryColumn, value: Any) -> Any:
    if isinstance(column, NumberColumn):
        if value is None and column.masked:
            return None
        try:
            return column.read("nothing" if value is None else value)
        except DataError as error:
            raise DataError(f"--given {error}") from None
    one = pd.Series([value], dtype="object")
    if pd.api.types.is_numeric_dtype(column.dtype):
        one = as_number(one, column.dtype)
    try:
        column.encode(one)
    except DataError:
        raise _unknown(column.name, value, column.categories) from None
    return value


def _unknown(name: str, value: Any, known: Sequence[str]) -> DataError:
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    texts = () if isinstance(value, str) else ("null", "~") if value is None else (str(value).lower(),)
    quoted = next((word for word in known if word.lower() in texts), None)
    hint = "" if quoted is None else f"; in quotes it is a text: --given \"{name}='{quoted}'\""
    shown = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else value
    return DataError(
        f"--given {name}={shown}: no training row had it; wanted one of {', '.join(known[:SHOWN])}{more}{hint}"
    )


def _of_vae(scorer: TableScorer, n: int, rng: torch.Generator, given: Mapping[str, Any], called: str) -> pd.DataFrame:
    """Rows of a VAE, whose given columns were decided when it was trained."""
    book, cells = scorer.book, None
    wanted = tuple(book.columns[place] for place in scorer.vae.layout.given)
    if absent := [name for name in given if name not in book.columns]:
        raise ConfigError(f"the table has no column {', '.join(absent)}; it has {', '.join(book.columns)}")
    if set(given) - set(wanted):
        raise ConfigError(
            f"{called} was trained with {', '.join(wanted) or 'no columns'} given (tables.vae.given), and {', '.join(given)} "
            "were asked for; ask the GAN, of which any column can be given"
        )
    if given:
        cells = scorer.vae.sample(n, rng)  # columns of which nothing was said are drawn
        table = _table(cells, scorer)
        wished = book.table(book.frame(table).assign(**dict(given)))
        _require_known(wished, given, scorer)
        cells = Cells.of(wished)
    return book.frame(_table(scorer.vae.sample(n, rng, cells), scorer))


def _require_known(table: Table, given: Mapping[str, Any], scorer: TableScorer) -> None:
    """Makes sure that the VAE knows what is given.

    Raises:
        DataError: a category was not among the training rows, or a number is missing or infinite.
    """
    for name in given:
        values = table.column(name)
        if name in scorer.book.categories and (values == UNKNOWN).any():
            raise _unknown(name, given[name], scorer.book.categories[name])
        place = table.columns.index(name)
        if name in scorer.book.numbers and (
            (np.abs(values) > LARGEST).any() or (np.isnan(values).any() and place not in scorer.vae.layout.nullable)
        ):
            raise DataError(f"--given {name}={given[name]}: wanted {FINITE}")


def _table(cells: Cells, scorer: TableScorer) -> Table:
    book = scorer.book
    numbers, codes = cells.numbers.double().numpy(), cells.codes.numpy().astype(np.int64)
    return Table(tuple(book.numbers), numbers, tuple(book.categories), codes, book.sizes)
