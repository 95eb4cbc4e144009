"""Learns the reward from votes and, from the votes that it never saw, a judge of what tuning toward it leads to.

The judge learns where the reward is tested, and is tested where the reward learns: they share no vote and no sample, so that
a mistake which pleases the reward need not be one of the judge's.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from regen.core import files
from regen.core.seeds import derive
from regen.models import storage
from regen.models.networks import to_pixels, to_tensor
from regen.models.reward import RewardEnsemble
from regen.preferences import reward as rewards
from regen.preferences.votes import Votes
from regen.registry.recorder import Recorder
from regen.registry.tracking import Run
from regen.stages import votes
from regen.stages.alignment import Alignment
from regen.stages.base import Outcome, jsonable
from regen.stages.train import Beside, Watcher
from regen.training.checkpoints import Checkpoints
from regen.training.runtime import Runtime, prepare_process

SCALED_ON = 4096
"""Samples of the base whose rewards get mean 0 and sd 1."""
JUDGE = "judge"


def learn(alignment: Alignment) -> Outcome:
    """Writes the reward, the judge, votes.parquet, curve.csv and report.json (what is known of both).

    Raises:
        DataError: a picture that was voted on is gone, and cannot be drawn again.
        DivergenceError: a loss is not finite, again and again.
    """
    return alignment.perform("learn", lambda work, out: _learn(alignment, work, out))


def _learn(alignment: Alignment, work: Path, out: Path) -> None:
    import pandas as pd

    context, config = alignment.context, alignment.context.config
    found = votes.training_votes(context.workspace, alignment.votes)
    base = seen(alignment.network().sample(SCALED_ON, _generator(config.seed, "scale")))
    run = alignment.open_run("learn")
    with run.running(), Recorder(run) as recorder:
        prepare_process(config.training.threads)
        watcher = Watcher(context, "reward", run, recorder, of="pairs")
        runtime = Runtime.of(config.training, watcher, Checkpoints(work / "reward", config.training.checkpoints_kept))
        done = rewards.train_reward(config.reward, found, base, derive(config.seed, "align", "reward"), runtime)
        beside = replace(
            runtime, monitor=Beside(watcher), checkpoints=Checkpoints(work / JUDGE, config.training.checkpoints_kept)
        )
        judge = rewards.train_reward(config.reward, turned(found), base, derive(config.seed, "align", JUDGE), beside)
    for folder, module in ((out, done.reward), (out / JUDGE, judge.reward)):
        save(folder, module, config.reward, tuple(base.shape[1:]))
    told = {"reward": done.report.to_json(), "judge": judge.report.to_json(), **_about(alignment)}
    files.write_json(out / "report.json", jsonable(told))
    alignment.votes.table.to_parquet(out / "votes.parquet", index=False)
    pd.DataFrame(done.curve).to_csv(out / "curve.csv", index=False, float_format="%.9g")
    _record(run, out, done.report, judge.report)


def _about(alignment: Alignment) -> dict[str, Any]:
    found = alignment.votes
    return {
        "model": alignment.base.model, "base": alignment.name, "campaigns": list(found.campaigns), "people": found.people,
        "votes": found.digest,
    }  # fmt: skip


def _record(run: Run, out: Path, reward: rewards.RewardReport, judge: rewards.RewardReport) -> None:
    run.log_metrics({
        f"test/{name}_{figure}": value
        for name, report in (("reward", reward), ("judge", judge))
        for figure, value in (
            ("accuracy", report.accuracy.value), ("log_loss", report.log_loss),
            ("calibration_error", report.calibration_error), ("disagreement", report.disagreement),
        )
        if value == value  # not of votes that are all ties
    })  # fmt: skip
    run.log_files(
        {
            out / name: "reward"
            for name in ("report.json", "reward.json", "reward.safetensors", "curve.csv", "votes.parquet")
        }
    )


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "align", purpose))


def seen(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Images as people see them: 8-bit pixels, in [0, 1]."""
    return to_tensor(to_pixels(images))


def turned(found: Votes) -> Votes:
    """The votes with the sides of the split exchanged: to be learned from what was held out, and judged by the rest."""
    return replace(found, held_out=~found.held_out)


def save(folder: Path, module: RewardEnsemble, config: Any, shape: tuple[int, ...]) -> None:
    """Writes an ensemble, so that `load` reads it."""
    storage.save(
        folder, "reward", module, shape=shape, network=config.network, width=config.width, members=config.members
    )


def load(folder: Path) -> RewardEnsemble:
    """The ensemble in a folder of results, or the judge's in its folder `judge`."""
    return cast(RewardEnsemble, storage.load(folder, "reward"))


def result(alignment: Alignment) -> dict[str, Any]:
    """What `learn` wrote to report.json."""
    told: dict[str, Any] = files.read_json(alignment.results("learn") / "report.json")
    return told
