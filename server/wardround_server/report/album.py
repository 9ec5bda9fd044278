"""The pictures on a page: which fit into it, and how they stand in it.

Not here: drawn charts (``charts``), which are small.

Privacy: shows what it is given; pictures of scans are simulation only, which the report's model says.
"""

from __future__ import annotations

import base64

MOST_PICTURES_BYTES = 2_000_000
"""Pictures beyond this stay in ``report.json``, so that the page stays below 3 MB."""


class Album:
    """The room that one page has for pictures; whoever comes first is served first."""

    def __init__(self, limit_bytes: int = MOST_PICTURES_BYTES) -> None:
        self._left_bytes = limit_bytes

    def show(self, png: bytes) -> str:
        """The picture as a ``data:`` address, or nothing where the page has no room left for it."""
        if len(png) > self._left_bytes:
            return ""
        self._left_bytes -= len(png)
        return "data:image/png;base64," + base64.b64encode(png).decode()
