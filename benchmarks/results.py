"""What a benchmark measured: printed as a table, written as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path("build/bench")


@dataclass(frozen=True)
class Result:
    """One figure."""

    name: str
    value: float
    unit: str
    note: str = ""


def publish(benchmark: str, results: list[Result]) -> None:
    """Print ``results`` and write them to ``build/bench/BENCHMARK.json``."""
    width = max(len(result.name) for result in results)
    print(f"\n{benchmark}")
    for result in results:
        print(f"  {result.name:<{width}}  {result.value:>10.3f} {result.unit:<8} {result.note}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = {"results": [asdict(result) for result in results]}
    (FOLDER / f"{benchmark}.json").write_text(json.dumps(data, indent=1) + "\n")
