"""What one of two processes does in the tests: it takes its share of the rows and joins the other's."""

import pickle
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from regen.evaluation.moments import Moments, gathered, merged
from regen.evaluation.space import FeatureSet, Judge

ROWS = np.random.default_rng(0).normal(size=(37, 4)) + 100
SHARES = (slice(0, 25), slice(25, 37))


def feature_set(rows: np.ndarray) -> FeatureSet:
    """Rows that came in batches of ten."""
    found = FeatureSet(Judge("small@1", "0" * 64))
    for start in range(0, len(rows), 10):
        found = found.update(rows[start : start + 10])
    return found


def main(folder: Path, rank: int) -> None:
    """Leaves what this process came to in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    share = SHARES[rank]
    found = feature_set(ROWS[share]).across_processes()
    result = {
        "moments": merged(gathered(Moments.of(ROWS[share]))).arrays(),
        "digest": found.digest,
        "scatter": found.moments.scatter,
    }
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
