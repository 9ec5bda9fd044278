"""Why a file was not taken: stable reason codes, one sentence each, and the row of the rejects table.

A file that cannot be used is a value, not an error: ``Refusal`` is raised inside the reading of one file and
becomes a ``Rejected`` before it leaves it.

Not here: errors that stop the whole ingest (``IngestError``).

Rules:

* A sentence is the same for every file with that code. It holds no value of the file.
* Codes are stable; a new rule gets a new code.

Privacy: a row holds the path that the site itself chose, the number of a DICOM attribute and a code. The
table stays in the site's data folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.datadict import tag_for_keyword

REASONS = {
    "annotation.burned_in": "The file says that text is burned into the pixels, which may name the patient.",
    "duplicate": "A copy, byte by byte, of another file in the folder; the other one was used.",
    "duplicate.conflict": "Other files have the same SOP Instance UID and differ; none of them was used.",
    "file.damaged": "The structure of the file is broken: it is no valid DICOM data set.",
    "file.not_dicom": "Not a DICOM file: the preamble and the letters DICM are missing.",
    "file.not_regular": "Neither a file nor a folder (a pipe, a socket or a device).",
    "file.symlink": "A symbolic link; links are not followed. Copy the file into the folder instead.",
    "file.truncated": "The file ends too early: copy it again from its source.",
    "file.unreadable": "The file may not be read, or reading failed: check its permissions.",
    "folder.unreadable": "The sub-folder may not be read: nothing in it was seen. Check its permissions.",
    "label.conflict": "labels.csv has one label for this scan and another one for its patient.",
    "label.missing": "labels.csv has a row neither for this scan nor for its patient.",
    "label.other_scan": "labels.csv names other scans of this patient, but not this one.",
    "label.other_patient": "labels.csv names another patient for this scan than the file does.",
    "limit.decoded_bytes": "The image would need more memory than is allowed.",
    "limit.elements": "The file has more data elements than is allowed.",
    "limit.file_bytes": "The file is larger than is allowed.",
    "limit.inflated_bytes": "The compressed data set would grow beyond what is allowed.",
    "limit.nesting": "Sequences are nested more deeply than is allowed.",
    "limit.size_px": "The image has no or more rows or columns than is allowed.",
    "limit.value_bytes": "An attribute is longer than is allowed.",
    "lut.invalid": "A look-up table of the file is malformed.",
    "modality.other": "The image is of another modality than the plan asks for.",
    "object.localizer": "A localizer (scout view), not an image of the exam.",
    "object.secondary_capture": "A secondary capture: a picture of a screen or a scanned film.",
    "object.unsupported": "Not a single CT, CR, DX, MG, MR, microscopic or photographic image (for example a "
    "report, a segmentation, a presentation state, an image for processing, an enhanced multi-frame object).",
    "patient.conflict": "Files with this PatientID differ in birth date, sex or issuer: it may stand for two "
    "persons. No scan of this PatientID was used.",
    "patient.id_invalid": "PatientID is malformed or a filler word, so it names nobody.",
    "patient.id_missing": "PatientID is missing or empty.",
    "pixels.colour": "A colour image, where the plan asks for grey values.",
    "pixels.colour_model": "A colour image whose colours are stored in a way that is not read (for example "
    "as a palette).",
    "pixels.decoder_crashed": "A decoder crashed on the pixels or took too long: the file is damaged.",
    "pixels.format": "Bits allocated, bits stored, high bit, sign or planar configuration of the pixels make "
    "no sense, or a colour has other than 8 bits.",
    "pixels.grey": "An image of grey values, where the plan asks for colour.",
    "pixels.missing": "The object has no pixels.",
    "pixels.multiframe": "The object has several frames.",
    "pixels.size_mismatch": "The compressed image has another size or kind than the file says.",
    "pixels.undecodable": "No installed decoder can read the pixels.",
    "rescale.invalid": "The rescale slope or intercept is zero, not a number or out of range.",
    "rescale.missing": "A CT image without rescale slope and intercept: its units are unknown.",
    "rescale.units": "The values of this CT image are not in Hounsfield units.",
    "sop.invalid": "The SOP Instance UID is missing or malformed.",
    "spacing.invalid": "The distance between pixels is zero, not a number or out of range.",
    "spacing.missing": "The file has neither PixelSpacing nor ImagerPixelSpacing.",
    "syntax.missing": "The file does not say how it is encoded.",
    "syntax.unsupported": "No decoder is installed for the way in which this file is encoded.",
    "value.malformed": "An attribute does not have the form that the standard demands.",
    "window.invalid": "The width of the display window is zero, not a number or out of range.",
}


class Refusal(Exception):  # noqa: N818 - not an error: it becomes a row of the rejects table
    """One file cannot be used. Never leaves the reading of that file.

    Args:
        code: A key of ``REASONS``.
        keyword: DICOM keyword of the attribute that it is about, if any.
    """

    def __init__(self, code: str, keyword: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.keyword = keyword


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Rejected:
    """A row of the rejects table."""

    path: str
    """Relative to the folder, with ``/``."""
    tag: str
    """``(gggg,eeee)`` of the attribute that it is about, or empty."""
    code: str

    @classmethod
    def of(cls, path: str, refusal: Refusal) -> Rejected:
        """The row for a file that was refused."""
        return cls(path=path, tag=tag_text(refusal.keyword), code=refusal.code)

    @property
    def reason(self) -> str:
        """The sentence for the reader."""
        return REASONS[self.code]


def tag_text(keyword: str) -> str:
    """``(gggg,eeee)`` of a DICOM keyword; empty for none."""
    tag = tag_for_keyword(keyword) if keyword else None
    return "" if tag is None else f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
