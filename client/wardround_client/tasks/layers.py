"""The layers that Opacus does not know, with the gradient of every patient through them.

``StandardisedConv2d`` normalises its weight before it convolves, which takes the place of batch norm's
scale-free weights without mixing patients. The clip bounds the gradient of the *raw* weight, so every
patient's gradient is pulled back through the standardisation before its norm is taken: a norm of the
standardised weight's gradient would be the norm of something that is not released.

Privacy: per-patient gradients are private and live in ``grad_sample`` between one backward pass and the clip.

References:
    Qiao et al. 2019 (weight standardisation), equation 5; De et al. 2022, section 3 (under DP-SGD).
"""

from __future__ import annotations

import torch
from opacus.grad_sample import register_grad_sampler
from torch import Tensor, nn
from torch.nn import functional

_FLOOR = 1e-5


class StandardisedConv2d(nn.Module):
    """A convolution whose filters have mean 0 and norm 1 when it is applied; square, with bias, zero padded.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        kernel: Height and width of a filter.
        stride: Of the output grid.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Convolve with the standardised weight."""
        filters, _ = standardise(self.weight)
        return functional.conv2d(x_BCHW, filters, self.bias, stride=self.stride, padding=self.padding)


def standardise(weight_OIHW: Tensor) -> tuple[Tensor, Tensor]:
    """Filters of mean 0 and norm (almost) 1.

    Returns:
        The filters and, per filter, the factor that was applied after the mean was taken away.
    """
    centred = weight_OIHW - weight_OIHW.mean(dim=(1, 2, 3), keepdim=True)
    factor = torch.rsqrt(centred.square().sum(dim=(1, 2, 3), keepdim=True) + _FLOOR)
    return centred * factor, factor


def standardised_grad_samples(
    layer: StandardisedConv2d, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """Every patient's gradient of the raw weight: that of the standardised weight, pulled back.

    With ``v = f (w - mean w)`` and ``f = (sum (w - mean w)^2 + floor)^(-1/2)``, the gradient ``g`` of ``v``
    becomes ``f (g - mean g - v <g, v>)``: ``v`` has mean 0, so the last term needs no centring.
    """
    x_BCHW = activations[0]
    columns_BIL = functional.unfold(x_BCHW, layer.kernel, padding=layer.padding, stride=layer.stride)
    g = torch.einsum("bol,bil->boi", backprops.flatten(2), columns_BIL)
    g = g.view(len(x_BCHW), *layer.weight.shape)
    with torch.no_grad():
        filters, factor = standardise(layer.weight)
    g = g - g.mean(dim=(2, 3, 4), keepdim=True)
    g = (g - filters * (g * filters).sum(dim=(2, 3, 4), keepdim=True)) * factor
    return {layer.weight: g, layer.bias: backprops.sum(dim=(2, 3))}


register_grad_sampler(StandardisedConv2d)(standardised_grad_samples)
