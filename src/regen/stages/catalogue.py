"""Every stage by its name, in the order they run."""

from collections.abc import Callable
from functools import partial

from regen.stages.base import Context, Outcome
from regen.stages.evaluate import evaluate
from regen.stages.prepare import prepare
from regen.stages.promote import promote
from regen.stages.register import register
from regen.stages.train import train

STAGES: dict[str, Callable[[Context], Outcome]] = {
    "prepare": prepare,
    "train_extractor": partial(train, kind="extractor"),
    "train_vae": partial(train, kind="vae"),
    "train_gan": partial(train, kind="gan"),
    "evaluate": evaluate,
    "register": register,
    "promote": promote,
}
