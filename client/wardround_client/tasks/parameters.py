"""A module's parameters as a vector in the order of a layout, and modules without torch's random values.

Privacy: copies parameters, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wardround_common.layout import Layout

Module = TypeVar("Module", bound=nn.Module)


class Parameters:
    """The parameters of ``module``, which lie in a vector as ``layout`` says.

    Args:
        module: Its parameters have the names and shapes of the layout, up to a prefix of the names there.
        layout: Where they lie.
    """

    def __init__(self, module: nn.Module, layout: Layout) -> None:
        built = [(name, tuple(parameter.shape)) for name, parameter in module.named_parameters()]
        wanted = [(spec.name, spec.shape) for spec in layout.tensors]
        fits = len(built) == len(wanted) and all(
            name[0].endswith(built_as[0]) and name[1] == built_as[1]
            for name, built_as in zip(wanted, built, strict=True)
        )
        if not fits:
            raise AssertionError(f"a network does not have the tensors of its layout: {built}, {wanted}")
        self.layout: Final = layout
        self._module: Final = module

    def load(self, vector_P: NDArray[np.float32]) -> None:
        """Set all parameters from ``vector_P``."""
        tensors = self.layout.split(vector_P).values()
        with torch.no_grad():
            for parameter, values in zip(self._module.parameters(), tensors, strict=True):
                parameter.copy_(torch.from_numpy(values.copy()))

    def vector(self) -> NDArray[np.float32]:
        """All parameters, as ``float32[P]`` of its own memory."""
        parts = [parameter.detach().cpu().reshape(-1) for parameter in self._module.parameters()]
        return np.array(torch.cat(parts).numpy(), dtype=np.float32)


def without_values(make: Callable[[], Module]) -> Module:
    """What ``make`` makes, its parameters not initialised: torch's global generator is not touched."""
    with torch.device("meta"):
        module = make()
    return module.to_empty(device="cpu")
