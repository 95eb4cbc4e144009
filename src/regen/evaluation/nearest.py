"""Nearest rows and near pairs of large sets, in blocks of bounded size, with the results that exact distances give.

Squared distances come from one matrix product a block, |x|² − 2xᵀy + |y|², which is several times as quick as differences but
off by rounding. Pairs so close to a limit that rounding could decide are computed again from differences, so identical rows
are at distance 0 and ties are ties.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from regen.evaluation.frechet import Features

CHUNK = 1024
"""Rows of a block."""
WIDTH = 8
"""Columns of a block, in chunks."""
SPARE = 8
"""Candidates kept beside the nearest; where they do not suffice, a row is compared with all others by differences."""


class Nearest(NamedTuple):
    """The k-th nearest row of each query."""

    squares: Float64[np.ndarray, " n"]
    """Squared distance to it."""
    rows: Int64[np.ndarray, " n"]
    """Which it is; one of them where several are equally near."""


@dataclass(frozen=True)
class Block:
    """Squared distances of some rows to some columns, off by at most `slack`."""

    rows: slice
    columns: slice
    squares: Float64[np.ndarray, "a b"]
    slack: float


def square_distances(some: Features, others: Features) -> Float64[np.ndarray, " n"]:
    """Of pairs of rows, by differences: 0 for identical rows, and the same both ways."""
    found: np.ndarray = np.square(some - others).sum(axis=1)
    return found


def blocks(rows: Features, columns: Features, chunk: int = CHUNK) -> Iterator[Block]:
    """Every pair once, block by block; a block's array is written over by the next."""
    centre = rows.mean(axis=0)  # rounding grows with a row's size, not with its distance
    x, y = rows - centre, columns - centre
    x_sizes, y_sizes = np.square(x).sum(axis=1), np.square(y).sum(axis=1)
    left = np.concatenate([-2 * x, x_sizes[:, None], np.ones((len(x), 1))], axis=1)
    right = np.concatenate([y, np.ones((len(y), 1)), y_sizes[:, None]], axis=1)
    rounding = 8 * (rows.shape[1] + 8) * np.finfo(np.float64).eps
    room = np.empty(min(chunk, len(x)) * min(WIDTH * chunk, len(y)))
    for top in range(0, len(x), chunk):
        some = slice(top, min(top + chunk, len(x)))
        slack = float(rounding * (x_sizes[some].max() + y_sizes.max()))
        for start in range(0, len(y), WIDTH * chunk):
            others = slice(start, min(start + WIDTH * chunk, len(y)))
            shape = some.stop - some.start, others.stop - others.start
            squares = np.matmul(left[some], right[others].T, out=room[: shape[0] * shape[1]].reshape(shape))
            yield Block(some, others, squares, slack)


def within(
    block: Block, limits: Float64[np.ndarray, "..."], rows: Features, columns: Features
) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """The pairs of a block, as row and column numbers, that lie no farther apart than their limit.

    Args:
        limits: squared distances, `a 1` for one limit a row of the block, `b` for one a column.
    """
    i, j = np.nonzero(block.squares <= limits + block.slack)
    bounds, known = np.broadcast_to(limits, block.squares.shape)[i, j], block.squares[i, j]
    near = known < bounds - block.slack
    doubtful = np.flatnonzero(~near)
    for start in range(0, len(doubtful), CHUNK):
        pairs = doubtful[start : start + CHUNK]
        exact = square_distances(rows[block.rows.start + i[pairs]], columns[block.columns.start + j[pairs]])
        near[pairs] = exact <= bounds[pairs]
    return block.rows.start + i[near], block.columns.start + j[near]


def nearest(queries: Features, reference: Features, k: int = 1, chunk: int = CHUNK) -> Nearest:
    """The `k`-th nearest reference row of each query, exactly; a row is its own nearest where the sets are one."""
    kept = min(k + SPARE, len(reference))
    squares, rows = np.full((len(queries), kept), np.inf), np.zeros((len(queries), kept), np.int64)
    slack = np.zeros(len(queries))
    for block in blocks(queries, reference, chunk):
        slack[block.rows] = block.slack
        _keep_least(squares[block.rows], rows[block.rows], block)
    exact = _exact(queries, reference, rows, chunk)
    order = np.lexsort((rows, exact))
    found, which = (np.take_along_axis(values, order, axis=1)[:, k - 1] for values in (exact, rows))
    unsure = (found > 0) & (squares.max(axis=1) - slack < found) & (kept < len(reference))
    for one in np.flatnonzero(unsure):  # a row that was left out might be nearer
        everything = _to_all(queries[one], reference, chunk)
        found[one] = np.partition(everything, k - 1)[k - 1]
        which[one] = np.flatnonzero(everything == found[one])[0]
    return Nearest(found, which)


def _keep_least(squares: np.ndarray, rows: np.ndarray, block: Block) -> None:
    """Puts a block's least distances in the place of the greatest of those kept; what is no less costs one comparison."""
    kept, columns = squares.shape[1], block.squares.shape[1]
    if not np.isfinite(squares).all() and columns > kept:  # the first block has much to give
        chosen = np.argpartition(block.squares, kept - 1, axis=1)[:, :kept]
        squares[:], rows[:] = np.take_along_axis(block.squares, chosen, axis=1), chosen + block.columns.start
        return
    i, j = np.nonzero(block.squares < squares.max(axis=1)[:, None])
    if len(i) == 0:
        return
    place = np.arange(len(i)) - np.searchsorted(i, i)  # where a pair stands among those of its row
    wide = int(place.max()) + 1
    new, of = np.full((len(squares), wide), np.inf), np.zeros((len(squares), wide), np.int64)
    new[i, place], of[i, place] = block.squares[i, j], j + block.columns.start
    both, names = np.concatenate([squares, new], axis=1), np.concatenate([rows, of], axis=1)
    chosen = np.argpartition(both, kept - 1, axis=1)[:, :kept]
    squares[:], rows[:] = np.take_along_axis(both, chosen, axis=1), np.take_along_axis(names, chosen, axis=1)


def _exact(queries: Features, reference: Features, rows: np.ndarray, chunk: int) -> np.ndarray:
    found = np.empty(rows.shape)
    for start in range(0, len(queries), chunk):
        some = slice(start, start + chunk)
        for column in range(rows.shape[1]):
            found[some, column] = square_distances(queries[some], reference[rows[some, column]])
    return found


def _to_all(query: np.ndarray, reference: Features, chunk: int) -> np.ndarray:
    starts = range(0, len(reference), WIDTH * chunk)
    return np.concatenate([square_distances(query, reference[start : start + WIDTH * chunk]) for start in starts])
