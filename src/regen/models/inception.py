"""The features of FID (Heusel et al., 2017): Inception-v3 (Szegedy et al., 2016) with the original weights, from a file.

They are the 2,048 after the last average pool. Where the original graph departs from the paper (https://arxiv.org/abs/
1512.00567) so does this: average pools leave padding out of the mean, and the last block pools by the maximum. Images are
brought to 299×299 as TensorFlow 1 did it, bilinear, without antialiasing and with the first pixel kept in its place, so that
values agree with the original's, whatever is to be said against that filter.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from regen.core import files
from regen.core.errors import EvaluationError
from regen.models.extractors import ORIGINAL, Spec

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d"
"""How the digest of the original weights begins; torch's hub writes the first eight digits into a file's name."""
DIM, SIDE, BATCH = 2048, 299, 32
Kernel = int | tuple[int, int]


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, into: int, out: int, kernel: Kernel = 1, stride: int = 1, *, padded: bool = True) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if padded else 0
        self.conv = nn.Conv2d(into, out, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k y x"]:
        return F.relu(self.bn(self.conv(x)))


def _averaged(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """At 35×35: 1×1, 5×5, two 3×3 after each other, and an average pool; figure 5 of the paper."""

    def __init__(self, into: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Unit(into, 64)
        self.branch5x5_1, self.branch5x5_2 = Unit(into, 48), Unit(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = Unit(into, 64), Unit(64, 96, 3), Unit(96, 96, 3)
        self.branch_pool = Unit(into, pooled)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(_averaged(x))], 1
        )


class BlockB(nn.Module):
    """From 35×35 to 17×17; figure 10."""

    def __init__(self, into: int) -> None:
        super().__init__()
        self.branch3x3 = Unit(into, 384, 3, 2, padded=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(into, 64), Unit(64, 96, 3)
        self.branch3x3dbl_3 = Unit(96, 96, 3, 2, padded=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k y x"]:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """At 17×17: 7×7 convolutions as pairs of 1×7 and 7×1; figure 6."""

    def __init__(self, into: int, inner: int) -> None:
        super().__init__()
        across, down = (1, 7), (7, 1)
        self.branch1x1 = Unit(into, 192)
        self.branch7x7_1, self.branch7x7_2 = Unit(into, inner), Unit(inner, inner, across)
        self.branch7x7_3 = Unit(inner, 192, down)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Unit(into, inner), Unit(inner, inner, down)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Unit(inner, inner, across), Unit(inner, inner, down)
        self.branch7x7dbl_5 = Unit(inner, 192, across)
        self.branch_pool = Unit(into, 192)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_averaged(x))], 1)


class BlockD(nn.Module):
    """From 17×17 to 8×8."""

    def __init__(self, into: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Unit(into, 192), Unit(192, 320, 3, 2, padded=False)
        self.branch7x7x3_1, self.branch7x7x3_2 = Unit(into, 192), Unit(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Unit(192, 192, (7, 1)), Unit(192, 192, 3, 2, padded=False)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k y x"]:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """At 8×8: branches that end in a 1×3 beside a 3×1; figure 7.

    Args:
        largest: pool by the maximum, as the original graph's last block does, and not by the mean.
    """

    def __init__(self, into: int, *, largest: bool) -> None:
        super().__init__()
        across, down = (1, 3), (3, 1)
        self.largest = largest
        self.branch1x1 = Unit(into, 320)
        self.branch3x3_1 = Unit(into, 384)
        self.branch3x3_2a, self.branch3x3_2b = Unit(384, 384, across), Unit(384, 384, down)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Unit(into, 448), Unit(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Unit(384, 384, across), Unit(384, 384, down)
        self.branch_pool = Unit(into, 192)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.largest else _averaged(x)
        branches = [
            self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled),
        ]  # fmt: skip
        return torch.cat(branches, 1)


class InceptionV3(nn.Module):
    """Images `n 3 299 299` in [−1, 1] to features `n 2048`; modules are called as in the weights file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, 2, padded=False)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = Unit(64, 80)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3, padded=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, largest=False), BlockE(2048, largest=True)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 2048"]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features: Tensor = x.mean(dim=(2, 3))
        return features


class Inception:
    """The extractor of FID."""

    def __init__(self, network: InceptionV3, spec: Spec, device: str = "cpu") -> None:
        self._network, self._device = network.to(device).eval(), device
        self.spec = spec

    @classmethod
    def load(cls, file: Path, sha256: str = SHA256, device: str = "cpu") -> "Inception":
        """The network with the weights in `file`.

        Args:
            sha256: how the file's digest must begin. With another than the original's these are other weights, and a
                distance in their space is no FID.

        Raises:
            EvaluationError: there is no such file, its digest is another one, or it holds another network's weights.
        """
        if not file.is_file():
            raise EvaluationError(f"{file} is no file; name {FILE}, the weights that the original FID is defined by")
        met = files.sha256(file)
        if not met.startswith(sha256):
            raise EvaluationError(
                f"{file} has the sha256 {met[:8]}…, wanted {sha256}…, that of {FILE}; fetch that file anew, since no other "
                "weights give FIDs"
            )
        network = InceptionV3()
        _fill(network, _weights(file), file)
        name = ORIGINAL if met.startswith(SHA256) else "inception-v3"
        return cls(network, Spec(name, "1", met, DIM, SIDE, 3, "bilinear-tensorflow1"), device)

    @torch.no_grad()
    def features(self, images: UInt8[np.ndarray, "n h w 3"]) -> Float64[np.ndarray, "n d"]:
        """Each image's features."""
        found = np.zeros((len(images), DIM))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for at in range(0, len(images), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[at : at + BATCH])).to(self._device)
                found[at : at + BATCH] = self._network(prepared(batch)).double().cpu().numpy()
        return found


def prepared(images: UInt8[Tensor, "n h w c"]) -> Float[Tensor, "n c y x"]:
    """Images as the original graph feeds them to the network: 299×299 by TensorFlow 1's filter, then (x − 128) / 128."""
    pixels = images.permute(0, 3, 1, 2).float()
    return (_bilinear(_bilinear(pixels, 2), 3) - 128) / 128


def _bilinear(x: Float[Tensor, "n c h w"], axis: int) -> Float[Tensor, "n c y x"]:
    """One axis brought to 299: pixel i is read at i · side / 299, between its two neighbours."""
    side = x.shape[axis]
    places = torch.arange(SIDE, device=x.device) * (side / SIDE)
    lower = places.floor().long()
    upper = (lower + 1).clamp_max(side - 1)
    share = (places - lower).to(x.dtype).reshape([-1 if i == axis else 1 for i in range(4)])
    return x.index_select(axis, lower) * (1 - share) + x.index_select(axis, upper) * share


def _weights(file: Path) -> dict[str, Any]:
    """The file's tensors by name; no code in it is run."""
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(f"{file} holds no weights that torch can read ({reason}); fetch {FILE} anew") from None
    if not (isinstance(loaded, dict) and all(isinstance(value, Tensor) for value in loaded.values())):
        raise EvaluationError(f"{file} holds no table of weights by name; fetch {FILE} anew")
    return loaded


def _fill(network: InceptionV3, weights: dict[str, Any], file: Path) -> None:
    """Puts the weights in; the classifier's, which no feature depends on, and counters are passed over."""
    given = {name: value for name, value in weights.items() if not _is_idle(name)}
    wanted = {name: value for name, value in network.state_dict().items() if not _is_idle(name)}
    wrong = [
        *(f"{name} is missing" for name in wanted if name not in given),
        *(f"{name} is not of it" for name in given if name not in wanted),
        *(
            f"{name} is {tuple(given[name].shape)}, wanted {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in given and given[name].shape != value.shape
        ),
    ]
    if wrong:
        raise EvaluationError(
            f"{file} holds another network than FID's Inception-v3 ({len(wrong)} differences: {'; '.join(wrong[:3])}); "
            f"name {FILE}"
        )
    network.load_state_dict(given, strict=False)


def _is_idle(name: str) -> bool:
    return name.startswith("fc.") or name.endswith("num_batches_tracked")
