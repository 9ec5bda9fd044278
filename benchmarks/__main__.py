"""Run the benchmarks that are named on the command line, or all."""

import sys

from benchmarks import dp_step, simulator
from benchmarks.results import publish

BENCHMARKS = {"simulator": simulator.measure, "dp_step": dp_step.measure}

for name in sys.argv[1:] or BENCHMARKS:
    publish(name, BENCHMARKS[name]())
