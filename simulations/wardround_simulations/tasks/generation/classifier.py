"""The classifier that tries images out: the ``small`` network, trained without privacy, for any classes.

It is a measuring instrument, the same for generated and for real images, and no model of a study: it knows no
plan. The first class is the reference, as in the models of a study: K classes have K - 1 logits.

Rules:

* All randomness, the initial values too, comes from streams; torch's generator is not touched.

Privacy: none, on purpose.

References: Kingma and Ba, ICLR 2015 (Adam); Wu and He, ECCV 2018 (group norm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from wardround_client.tasks.layers import StandardisedConv2d
from wardround_common.streams import Stream, derive
from wardround_simulations.tasks.generation.labelled import Labelled

_GROUPS = 8
_GRID = 4
_ROWS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How it is trained: Adam on batches drawn with replacement."""

    learning_rate: float = 4e-3
    last_quarter: float = 0.2
    """Factor on the learning rate in the last quarter of the steps."""
    batch: int = 64
    steps: int = 300


DEFAULT = Recipe()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Classifier:
    """A trained classifier; called with images ``float32[N, C, H, W]``, it returns ``float64[N, classes]``.

    Attributes:
        network: Images to the logits of classes 1 and up.
        share_K: The share of each class in what it was trained on.
    """

    network: nn.Module
    share_K: npt.NDArray[np.float64]

    @torch.no_grad()
    def __call__(self, images_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The probability of each class for each image."""
        parts = [_logits(self.network, part) for part in torch.tensor(images_NCHW).split(_ROWS)]
        return torch.softmax(torch.cat(parts).double(), dim=1).numpy()

    def decide(self, images_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The class that each image speaks for most, however frequent it was in training.

        Probabilities are divided by the classes' shares in training: otherwise a rare class is hardly ever
        decided for, however well it is recognised.
        """
        known_K = self.share_K > 0
        weight_K = np.where(known_K, 1 / np.where(known_K, self.share_K, 1), 0)
        return np.asarray((self(images_NCHW) * weight_K).argmax(axis=1), np.int64)


def train_classifier(data: Labelled, *, classes: int, secret: bytes, recipe: Recipe = DEFAULT) -> Classifier:
    """Train on ``data``.

    Args:
        data: At least one image.
        classes: At least 2; how many there are, whether or not ``data`` shows each.
        secret: 32 bytes; the same secret and data give the same classifier.
        recipe: How.

    Raises:
        ValueError: There is no image, or a label is out of range.
    """
    if not len(data) or not 0 <= data.label_N.min() <= data.label_N.max() < classes:
        raise ValueError(f"expected images with labels below {classes}")
    network = _network(data.images_NCHW.shape[1], classes - 1, Stream(derive(secret, "initial values")))
    stream = Stream(derive(secret, "batches"))
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    images_NCHW, label_N = torch.tensor(data.images_NCHW), torch.tensor(data.label_N)
    for step in range(recipe.steps):
        late = step >= 0.75 * recipe.steps
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (recipe.last_quarter if late else 1.0)
        row_B = torch.from_numpy(stream.below(recipe.batch, len(data)))
        optimizer.zero_grad()
        functional.cross_entropy(_logits(network, images_NCHW[row_B]), label_N[row_B]).backward()
        optimizer.step()
    return Classifier(network=network, share_K=data.counts(classes) / len(data))


def _logits(network: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Logits of all classes, that of the first one fixed at zero; values 0 to 1 enter as -1 to 1."""
    logits_BL: Tensor = network(x_BCHW * 2 - 1)
    return functional.pad(logits_BL, (1, 0))


def _network(channels: int, logits: int, stream: Stream) -> nn.Module:
    """The ``small`` model of ``wardround_common.models`` for this number of channels, with initial values."""
    with torch.device("meta"):  # initialisers of torch would move its global generator
        network = nn.Sequential(
            *_block(channels, 16, 5, stride=2),
            nn.MaxPool2d(2),
            *_block(16, 32, 3),
            nn.MaxPool2d(2),
            *_block(32, 64, 3),
            nn.AdaptiveMaxPool2d(_GRID),
            nn.Flatten(),
            nn.Linear(64 * _GRID**2, logits),
        )
    network.to_empty(device="cpu")
    _initialise(network, stream)
    return network


def _block(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = StandardisedConv2d(inputs, outputs, kernel, stride=stride)
    return convolution, nn.GroupNorm(_GROUPS, outputs), nn.ReLU()


@torch.no_grad()
def _initialise(network: nn.Module, stream: Stream) -> None:
    """Weights uniform with variance 1 / inputs, scales one, biases zero: as the layouts of a study."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                parameter.zero_()
            elif isinstance(module, nn.GroupNorm):
                parameter.fill_(1)
            else:
                bound = math.sqrt(3 / math.prod(parameter.shape[1:]))
                values = torch.from_numpy(stream.uniform(parameter.numel())) * 2 - 1
                parameter.copy_(values.view_as(parameter) * bound)
