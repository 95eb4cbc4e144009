"""Every stage by its name, in the order they run; a stage's libraries are imported when it is called, and no others."""

from collections.abc import Callable
from importlib import import_module

from regen.stages.base import Context, Outcome


def _stage(module: str, **settings: str) -> Callable[[Context], Outcome]:
    """The function of that name in regen.stages.MODULE."""

    def call(context: Context) -> Outcome:
        outcome: Outcome = getattr(import_module(f"regen.stages.{module}"), module)(context, **settings)
        return outcome

    return call


STAGES: dict[str, Callable[[Context], Outcome]] = {
    "prepare": _stage("prepare"),
    "train_extractor": _stage("train", kind="extractor"),
    "train_vae": _stage("train", kind="vae"),
    "train_gan": _stage("train", kind="gan"),
    "evaluate": _stage("evaluate"),
    "register": _stage("register"),
    "promote": _stage("promote"),
}
