"""Scores in batches: a table or a folder of images larger than memory, shard by shard, by a registered model."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from regen.stages.score import Scored
from tasks.score import score as score_shards

SHARD_ROWS = 10_000


@flow(name="score")
def score(
    source: Annotated[str, Field(description="A Parquet or CSV file, or a folder of images, of any size.")],
    model: Annotated[str, Field(description="NAME, NAME@ALIAS or NAME/NUMBER of a registered model of anomalies.")],
    output: Annotated[str, Field(description="The file to write; its name ends in .parquet or .csv.")],
    shard_rows: Annotated[
        int, Field(ge=1, description="Rows or images that are done again at most after a kill.")
    ] = SHARD_ROWS,
) -> Scored:
    """Score every row or image; a run that was killed goes on where it stopped."""
    return score_shards(source, model, output, shard_rows)
