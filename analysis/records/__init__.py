"""What was measured, wherever it lies: the store, or a W&B server.

In come stages; out go one row per value (`gather`, `frame`), the `measurements` of an arm, the scores of single
`examples`, and the `basis` on which a report can be written again.  `wandb_api` reads a server.
"""
