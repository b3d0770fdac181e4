#!/usr/bin/env bash
# Trains XLM-R base, Large and XL at full size (random weights) through trainers.training.engine on one GPU, in under
# 10 minutes, checks that packed is padded and resumed is straight, trains the Trainer's way beside, and writes
# tokens/s, MFU and peak memory to results.json and results.md:
#
#   bench/gpu/run.sh --out runs/bench-gpu
#   bench/gpu/run.sh --out runs/bench-gpu --tiny     # the same code with tiny configurations, on a CPU too
#
# Uses the python named by $PYTHON (default python3); the checkout need not be installed in it.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# -P: no folder but these is looked in for modules, so that no script here is taken for a library of its name.
exec "${PYTHON:-python3}" -P -m bench.gpu.measure "$@"
