"""The commands of `retain`, a module for each family: options beside what carries them out.

In comes what a person typed; out goes an exit status.  `launch.cli` lists them: `study`, `run`, `results`, `wandb`,
`agents`, `cluster`.
"""
