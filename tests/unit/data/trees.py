"""What the tests of versions share: the files of a folder, and another one in a file's place."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def overwrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)
