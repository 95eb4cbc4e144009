#!/bin/sh
# Makes a virtual environment of the packages that the benchmarks compare Regen with, and prints the path of its python.
#
#     benchmarks/peers.sh FOLDER
#
# PYTHON names the interpreter to make it with, TORCH_ARGS what pip is told on installing torch, as for `make run`.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: benchmarks/peers.sh FOLDER" >&2
    exit 2
fi
folder=$1
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
mkdir -p "$folder"
folder=$(CDPATH='' cd -- "$folder" && pwd)
if [ "$folder" = "$root/.venv" ]; then
    echo "error: $folder is the project's own environment; name another folder" >&2
    exit 2
fi

[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
python=$folder/bin/python
if ! "$python" -c 'import pythae, torch' 2>/dev/null; then
    # shellcheck disable=SC2086
    "$python" -m pip install -q torch==2.13.0 ${TORCH_ARGS:-} >&2
    "$python" -m pip install -q pythae==0.1.2 >&2
fi
if ! "$python" -c 'from importlib.metadata import version; [version(n) for n in ("torchmetrics", "pytorch-fid", "torch-fidelity", "clean-fid")]' 2>/dev/null; then
    # without their dependencies: torchvision and the like serve their networks, and only their arithmetic is measured
    "$python" -m pip install -q --no-deps torchmetrics==1.9.0 lightning-utilities==0.15.3 packaging \
        pytorch-fid==0.3.0 torch-fidelity==0.4.0 clean-fid==0.1.35 >&2
fi
if ! "$python" -c 'from importlib.metadata import version; [version(n) for n in ("ctgan", "imbalanced-learn", "pyod")]' 2>/dev/null; then
    "$python" -m pip install -q ctgan==0.12.1 imbalanced-learn==0.14.2 pyod==3.6.7 >&2
fi
"$python" - >&2 <<'PYTHON'
import platform
from importlib.metadata import version

names = ("torch", "pythae", "numpy", "scipy", "pydantic", "torchmetrics", "pytorch-fid", "torch-fidelity", "clean-fid")
names += ("ctgan", "imbalanced-learn", "pyod")
print("python", platform.python_version(), *(f"· {name} {version(name)}" for name in names))
PYTHON
echo "$python"
