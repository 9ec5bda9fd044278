"""How large a folder, a file and an image may be: literal constants, looked at before memory is spent.

pydicom has no limit on size, nesting or inflation, so these are the only ones. Each is well above what a
projection image or a slice needs and well below what would take a small machine down. They are no setting:
the same file is accepted or refused at every site.

Privacy: nothing here depends on a file.
"""

from __future__ import annotations

MAX_FILES = 1_000_000
"""Files in one folder, sub-folders included."""

MAX_FILE_BYTES = 128 * 2**20
"""One file. A large mammogram, 16 bit and not compressed, has 60 MB."""

MAX_INFLATED_BYTES = 128 * 2**20
"""A deflated data set after inflation (deflate reaches 1 : 1000)."""

MAX_SIDE_PX = 16_384
"""Rows, and Columns; a stitched whole-leg film has about 10,000."""

MAX_DECODED_BYTES = 64 * 2**20
"""Rows x Columns x SamplesPerPixel x BitsAllocated / 8."""

MAX_ENCODED_SHARE = 2
"""An encoded frame may have this many times the bytes of the decoded one (no encoding needs more) ..."""

ENCODED_SLACK_BYTES = 64 * 2**10
"""... and these bytes of headers."""

DECODER_MEMORY_BYTES = 2 * 2**30
"""Address space of the process that decodes compressed pixels, its libraries included."""

DECODE_TIMEOUT_S = 60.0
"""Time in which one compressed image must be decoded; the largest need about a second."""

MAX_ELEMENTS = 100_000
"""Data elements and sequence items that are walked over in one file."""

MAX_DEPTH = 16
"""Sequences and items inside one another."""

MAX_VALUE_BYTES = 4_096
"""One attribute on the allow-list, apart from look-up tables and pixels."""

MAX_TABLE_BYTES = 2**20
"""A sequence of look-up tables; one table has at most 65,536 entries of two bytes."""

MIN_SPACING_MM = 0.001
MAX_SPACING_MM = 50.0
"""Distance between pixels; below or above, the unit is wrong."""

MAX_NUMBER = 1e9
"""Rescale slope and intercept, window centre and width: larger ones would overflow float32."""

MIN_NUMBER = 1e-9
"""Rescale slope without its sign, window width: smaller ones would vanish in float32."""

MAX_LABEL_BYTES = 64 * 2**20
"""``labels.csv``."""

MAX_REJECTS_BYTES = 4 * 2**30
"""The table of files that were not used, which is read in one piece."""

MAX_CATALOGUE_BYTES = 8 * 2**30
"""All tensors of one catalogue, which lies in memory."""
