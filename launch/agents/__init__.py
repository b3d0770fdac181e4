"""W&B hands out the work: trials of a W&B sweep become stages of the store.

In comes a sweep; `trials` and the `agent`'s folder hold what was assigned, `wandb` speaks to the server, and the
`broker` does so for jobs without a network.
"""
