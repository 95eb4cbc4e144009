"""How well images are reconstructed, one figure an image: MSE, PSNR, SSIM."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

WINDOW = 7
"""Pixels on a side of SSIM's uniform window, less where the image is smaller."""
C1, C2 = 0.01**2, 0.03**2


def mse(real: Float[Tensor, "n c h w"], reconstructed: Float[Tensor, "n c h w"]) -> Float64[np.ndarray, " n"]:
    """Mean squared error of each image, pixels in [0, 1]; 0 is perfect, lower is better."""
    errors: np.ndarray = (real - reconstructed).double().square().flatten(1).mean(dim=1).numpy()
    return errors


def psnr(errors: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Peak signal-to-noise ratio of each image in dB, from its MSE; higher is better, at most 100.

    Example:
        >>> psnr(np.array([0.01]))
        array([20.])
    """
    decibels: np.ndarray = -10 * np.log10(np.maximum(errors, 1e-10))
    return decibels


def ssim(real: Float[Tensor, "n c h w"], reconstructed: Float[Tensor, "n c h w"]) -> Float64[np.ndarray, " n"]:
    """Structural similarity of each image (Wang et al., 2004), pixels in [0, 1]; at most 1, which is identity.

    Means over every uniform window of 7×7 that lies inside the image.
    """
    side = min(WINDOW, *real.shape[2:])
    x, y = real.double(), reconstructed.double()

    def window(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, side, stride=1)

    mean_x, mean_y = window(x), window(y)
    var_x, var_y = window(x * x) - mean_x**2, window(y * y) - mean_y**2
    covariance = window(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (var_x + var_y + C2)
    similarities: np.ndarray = (luminance * structure).flatten(1).mean(dim=1).numpy()
    return similarities
