"""What the report of a classification shows: who was compared with whom, and what was released.

Privacy: exact figures are simulation only and marked so; ``results`` names them.
"""

from typing import Final

from wardround_server.report.tasks.classification.section import Classification
from wardround_server.report.tasks.interface import Section

SECTION: Final[Section] = Classification()
