"""The layers hold, and asking for help costs no heavy import."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

HELP = """\
import sys
from flows.cli import main
sys.argv = ["regen", *sys.argv[1:]]
try:
    main()
except SystemExit as done:
    assert done.code in (0, None), done.code
print(*(name for name in ("torch", "mlflow", "prefect", "dvc", "pandas", "sklearn") if name in sys.modules))
"""


def test_every_import_keeps_to_the_layers():
    linter = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [linter, "--no-cache", "--config", "pyproject.toml"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_help_imports_nothing_heavy(tmp_path):
    for arguments in (["--help"], ["run", "--help"], ["data", "pull", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", HELP, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "", arguments
