"""What the report of a generator shows: its images, what they are worth, and whether it copies.

Privacy: exact figures and real images are simulation only and marked so; ``results`` names them.
"""

from typing import Final

from wardround_server.report.tasks.generation.section import Generating
from wardround_server.report.tasks.interface import Section

SECTION: Final[Section] = Generating()
