"""Scores in batches: a table or a folder of images larger than memory, shard by shard, by a registered model."""

from prefect import flow

from regen.stages.score import Scored
from tasks.score import score as score_shards

SHARD_ROWS = 10_000


@flow(name="score")
def score(source: str, model: str, output: str, shard_rows: int = SHARD_ROWS) -> Scored:
    """Score every row or image; a run that was killed goes on where it stopped.

    Args:
        source: a Parquet or CSV file, or a folder of images, of any size.
        model: NAME (its champion), NAME@ALIAS or NAME/NUMBER of a registered model of anomalies.
        output: the file to write; its name ends in .parquet or .csv.
        shard_rows: rows or images that are done again at most after a kill.
    """
    return score_shards(source, model, output, shard_rows)
