"""What to run: a sweep file becomes a plan.  No SLURM, and no files but the sweep's and the mirror's.

In comes a YAML (`sweep`); out goes a `plan` of stages, each once, parents before children, with the `retries` of what
has diverged.  `search` names the points of a grid, `check` tells every problem beforehand, `starter` writes a first
sweep file, `published_rows` knows how many rows the published data sets have.
"""
