"""A discriminator's logits and their slopes in its images, both to be differentiated in its weights.

Autograd can do it alone, by a double backward. For a network of affine layers and leaky ReLUs on a CPU it is written out,
which takes two thirds of the convolutions. Such a network is linear around an image. With δ the backward signal of D(x)
at a layer and a the layer's input, the gradient of D(x) in the layer's weights is δ ⊗ a. That of J·v, the slopes along v,
is δ ⊗ u: u is the layer's input when v runs through the network, biases left out and every ReLU open or shut as it was
for x. Both share δ, so one product δ ⊗ (c·a + u) is the gradient of c·D(x) + J·v.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from regen.models.gan import Classes, Discriminator

_LAYERS = (nn.Conv2d, nn.Linear, nn.LeakyReLU, nn.Flatten)


def logits_and_slopes(
    discriminator: Discriminator, images: Float[Tensor, "n c h w"], classes: Classes
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    """D(x) and ∇ₓD(x) of each image; gradients of both reach the discriminator's weights, not the images."""
    net = getattr(discriminator.head, "net", None)
    if images.device.type == "cpu" and isinstance(net, nn.Sequential) and all(isinstance(m, _LAYERS) for m in net):
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
        pixels, seeds, *weights = (
            tensor.to(dtype)
            for tensor in (2 * images.detach() - 1, discriminator.seeds(classes).to(images), *net.parameters())
        )
        with torch.autocast("cpu", enabled=False):
            logits, slopes = _Linearised.apply(net, pixels, seeds, *weights)  # type: ignore[no-untyped-call]
        return logits.float(), 2 * slopes.float()
    images = images.detach().requires_grad_(True)
    logits = discriminator(images, classes).float()
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return logits, slopes


class _Linearised(torch.autograd.Function):
    """`net`'s seeded values and their slopes; backward gives the weights' gradients and no second derivatives."""

    @staticmethod
    def forward(
        ctx: Any, net: nn.Sequential, inputs: Float[Tensor, "n c h w"], seeds: Float[Tensor, "n o"], *weights: Tensor
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
        seen, values, found = [], inputs, iter(weights)
        pairs: list[tuple[Tensor, ...]] = [
            (next(found), next(found)) if isinstance(layer, nn.Conv2d | nn.Linear) else () for layer in net
        ]
        for layer, pair in zip(net, pairs, strict=True):
            seen.append(values)  # a leaky ReLU's becomes its output, whose sign tells as much
            if isinstance(layer, nn.LeakyReLU):
                values = F.leaky_relu_(values, layer.negative_slope)
            else:
                values = _affine(layer, values, *pair) if pair else values.flatten(1)
        signals: list[Tensor | None] = [None] * len(net)
        signal = seeds
        for place in reversed(range(len(net))):
            layer = net[place]
            if isinstance(layer, nn.LeakyReLU):
                signal = _through_relu(signal, seen[place], layer)
                continue
            signals[place] = signal
            if isinstance(layer, nn.Conv2d):
                signal = _conv_backward(signal, seen[place], layer, pairs[place][0], of_input=True)
            elif isinstance(layer, nn.Linear):
                signal = signal @ pairs[place][0]
            else:
                signal = signal.view(seen[place].shape)
        ctx.net, ctx.pairs, ctx.seen, ctx.signals = net, pairs, seen, signals
        return (values * seeds).sum(dim=1), signal

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        coefficients, passing = gradients
        last = len(ctx.net) - 1
        found: list[Tensor] = []
        parts = zip(ctx.net, ctx.pairs, ctx.seen, ctx.signals, strict=True)
        for place, (layer, pair, seen, signal) in enumerate(parts):
            if isinstance(layer, nn.LeakyReLU):
                passing = _through_relu(passing, seen, layer)
            elif isinstance(layer, nn.Flatten):
                passing = passing.flatten(1)
            elif isinstance(layer, nn.Linear):
                found += [signal.t() @ torch.addcmul(passing, seen, coefficients[:, None]), coefficients @ signal]
                passing = passing if place == last else _affine(layer, passing, pair[0])
            else:
                mixed = torch.addcmul(passing, seen, coefficients[:, None, None, None])
                of_weight = _conv_backward(signal, mixed, layer, pair[0], of_input=False)
                found += [of_weight, coefficients @ signal.sum(dim=(2, 3))]
                passing = _affine(layer, passing, pair[0])
        return None, None, None, *found


def _through_relu(signal: Tensor, output: Tensor, layer: nn.LeakyReLU) -> Tensor:
    through: Tensor = torch.ops.aten.leaky_relu_backward(signal, output, layer.negative_slope, True)
    return through


def _affine(layer: nn.Module, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(values, weight, bias, layer.stride, layer.padding)
    return F.linear(values, weight, bias)


def _conv_backward(signal: Tensor, seen: Tensor, layer: nn.Conv2d, weight: Tensor, *, of_input: bool) -> Tensor:
    found: tuple[Tensor, Tensor, None] = torch.ops.aten.convolution_backward(
        signal, seen, weight, None, layer.stride, layer.padding, layer.dilation, False, (0, 0), layer.groups,
        [of_input, not of_input, False],
    )  # fmt: skip
    return found[0] if of_input else found[1]
