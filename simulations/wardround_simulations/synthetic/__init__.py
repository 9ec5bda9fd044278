"""Generated images as files that say what they are: pictures, arrays and DICOM.

``write_samples`` writes the folder. Every picture in it carries the word SYNTHETIC in its pixels, every file
says it in its attributes.

Not here: the sampling itself.

Privacy: the images come from a released generator; writing them reads no patient and costs nothing more.
"""

from wardround_simulations.synthetic.samples import Samples
from wardround_simulations.synthetic.writer import write_samples

__all__ = ["Samples", "write_samples"]
