"""Images with labels, generated or real.

Privacy: real ones are patients'; they stay in this process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.streams import Stream


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Labelled:
    """Images with labels. Of patients, one image each wherever an interval is computed.

    Attributes:
        images_NCHW: float32, values 0 to 1.
        label_N: int64, class indices from 0.

    Raises:
        ValueError: They do not fit together.
    """

    images_NCHW: npt.NDArray[np.float32]
    label_N: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images_NCHW.ndim != 4 or self.label_N.shape != (len(self.images_NCHW),):
            raise ValueError(
                f"expected images [N, C, H, W] and labels [N], got {self.images_NCHW.shape} and "
                f"{self.label_N.shape}"
            )

    def __len__(self) -> int:
        return len(self.label_N)

    def counts(self, classes: int) -> npt.NDArray[np.int64]:
        """Number of images of each class, ``int64[classes]``."""
        return np.bincount(self.label_N, minlength=classes).astype(np.int64)

    def at(self, row_M: npt.NDArray[np.int64]) -> Labelled:
        """The images of these rows."""
        return Labelled(images_NCHW=self.images_NCHW[row_M], label_N=self.label_N[row_M])

    def of_class(self, label: int) -> npt.NDArray[np.float32]:
        """The images of one class."""
        return self.images_NCHW[np.flatnonzero(self.label_N == label)]


def some(among: int, n: int, stream: Stream) -> npt.NDArray[np.int64]:
    """``n`` different indices below ``among`` in rising order, every choice equally likely."""
    return np.sort(np.argsort(stream.uniform(among), kind="stable")[:n])
