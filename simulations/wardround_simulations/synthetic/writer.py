"""A set of samples on disk.

``OUT/grid.png`` shows some of each class, ``OUT/png`` and ``OUT/dicom`` hold one file per image,
``OUT/samples.npz`` holds the arrays, ``OUT/README.txt`` says what all this is. The same samples give the same
bytes.

Privacy: see the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wardround_common import __version__
from wardround_simulations.synthetic.arrays import arrays_file
from wardround_simulations.synthetic.dicom import dicom_file
from wardround_simulations.synthetic.folder import write_folder
from wardround_simulations.synthetic.pictures import MARK, marked, png, sheet
from wardround_simulations.synthetic.samples import Samples


def write_samples(out: Path, samples: Samples) -> Path:
    """Write ``samples`` into ``out``.

    Guarantees: all of it is written, or ``out`` stays as it was.

    Args:
        out: New or empty, or a folder that this function wrote, which is then replaced.
        samples: The images.

    Returns:
        The path of ``grid.png``.

    Raises:
        ConfigError: ``out`` holds something else.
        StorageError: It cannot be written.
    """
    write_folder(out, _files(samples))
    return out / "grid.png"


def _files(samples: Samples) -> Iterator[tuple[str, bytes]]:
    note = _note(samples)
    yield "README.txt", f"{_about(samples)}\n{note}\n".encode()
    yield "samples.npz", arrays_file(samples, note=note)
    yield "grid.png", png(sheet(samples), comment=note)
    for sample in samples.numbered():
        yield f"png/{sample.name}.png", png(marked(sample.image_CHW), comment=note)
        yield f"dicom/{sample.name}.dcm", dicom_file(sample, samples)


def _about(samples: Samples) -> str:
    title = " ".join(samples.title.split())
    return f"{title}: {len(samples.label_N)} generated images ({', '.join(samples.labels)})."


def _note(samples: Samples) -> str:
    """One line that goes into every file that has room for it."""
    return (
        f"{MARK}: drawn from a generative model that Wardround {__version__} trained under the plan "
        f"{samples.plan_digest}. No image shows a patient. Not for diagnosis."
    )
