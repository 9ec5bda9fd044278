"""The model card: what the model is for, what it is not for, what it was trained on and what that cost.

What every card says is here and in its template; what a task adds is its `CardParts`. The YAML head is the
one that Hugging Face reads, so that tools find licence, tags and metrics.

Privacy: repeats numbers of the report; in a deployment these are released ones only.

References:
    M. Mitchell et al. (2019), Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

import json

from jinja2 import Environment, PackageLoader, StrictUndefined

from wardround_server.report import formats, words
from wardround_server.report.model import Report
from wardround_server.report.tasks import load_section

_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#|"})


def render_card(report: Report) -> str:
    """The card as Markdown; the same bytes for the same report."""
    made = Environment(
        loader=PackageLoader("wardround_server.report", "."),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "md": _markdown,
        "yaml": _yaml,
        "count": formats.count,
        "things": formats.things,
        "listed": formats.listed,
    }
    section = load_section(report.plan.task.name)
    return made.get_template("templates/model_card.md.j2").render(
        report=report,
        plan=report.plan,
        words=words,
        card=section.card(report),
        trained=section.trained(report),
        warnings=(*words.warnings(report), *section.warnings(report)),
    )


def _markdown(text: str) -> str:
    """Text on one line that Markdown shows as it is."""
    return " ".join(text.split()).translate(_ESCAPED)


def _yaml(text: str) -> str:
    """A YAML scalar: JSON strings are YAML."""
    return json.dumps(text, ensure_ascii=True)
