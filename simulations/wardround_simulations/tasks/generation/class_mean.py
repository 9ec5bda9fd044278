"""The poorest generator that knows the classes: each class's mean image under independent pixel noise.

A generator whose images teach a classifier no more than these has learnt no structure.

Privacy: none. Mean and deviation are exact figures of the training patients: nothing of this is released.
"""

from __future__ import annotations

import numpy as np

from wardround_common.streams import Stream
from wardround_simulations.tasks.generation.labelled import Labelled


def class_mean_images(real: Labelled, like: Labelled, stream: Stream) -> Labelled:
    """As many images of each class as ``like`` has: mean plus deviation times noise, pixel by pixel.

    Args:
        real: Where each class's mean and standard deviation are taken, at every pixel.
        like: Gives the labels; those that ``real`` does not show are left out.
        stream: Gives the noise.

    Returns:
        Images clipped to values 0 to 1.
    """
    label_N = like.label_N[np.isin(like.label_N, real.label_N)]
    images_NCHW = np.empty((len(label_N), *real.images_NCHW.shape[1:]), np.float32)
    for label in np.unique(label_N).tolist():
        of_class = real.of_class(label)
        mean_CHW, sd_CHW = of_class.mean(axis=0, dtype=np.float64), of_class.std(axis=0, dtype=np.float64)
        for row in np.flatnonzero(label_N == label).tolist():
            noise_CHW = stream.normal(mean_CHW.size).reshape(mean_CHW.shape)
            images_NCHW[row] = np.clip(mean_CHW + sd_CHW * noise_CHW, 0, 1)
    return Labelled(images_NCHW=images_NCHW, label_N=label_N)
