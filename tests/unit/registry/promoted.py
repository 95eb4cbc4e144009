"""Models whose versions were promoted, and what became of their aliases."""

from pathlib import Path

from regen.registry import promotion, versions


def aliases(model):
    """The numbers of champion and previous."""
    found = [versions.by_alias(model, alias) for alias in (versions.CHAMPION, versions.PREVIOUS)]
    return tuple(version.number if version else None for version in found)


def promoted(store, model, *numbers):
    """A model whose versions were promoted in this order."""
    made = [store.register(model) for _ in range(max(numbers))]
    for number in numbers:
        promotion.promote(store.workspace, made[number - 1], "ada", f"version {number}")
    return made


def break_files(version):
    """Cuts the weights of a version short."""
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(version.uri))
    weights = next(folder.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
