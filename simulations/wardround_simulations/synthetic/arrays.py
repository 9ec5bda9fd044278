"""Generated images as arrays, for those who train on them: an ``.npz`` without pickle, the same bytes always.

Rules:

* Values are the generated ones, neither rounded nor enlarged nor marked; the note beside them says SYNTHETIC.
* Members are stored, not deflated, and carry no clock.

Privacy: see the package.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np

from wardround_simulations.synthetic.samples import Samples

_NO_TIME = (1980, 1, 1, 0, 0, 0)


def arrays_file(samples: Samples, *, note: str) -> bytes:
    """The bytes of ``samples.npz``.

    Its arrays: ``images`` float32 [N, C, H, W], values 0 to 1; ``label`` int64 [N]; ``names``, those of the
    labels; ``note`` and ``plan_digest``, one string each.
    """
    members = {
        "images": samples.images_NCHW.astype("<f4"),
        "label": samples.label_N.astype("<i8"),
        "names": np.array(samples.labels),
        "note": np.array(note),
        "plan_digest": np.array(samples.plan_digest),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            data = io.BytesIO()
            np.lib.format.write_array(data, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _NO_TIME), data.getvalue())
    return buffer.getvalue()
