"""Training: which examples meet in a step, the step itself, and what makes it resumable.

In come a network, sets and a recipe.  `mixing` draws a step's examples, `batches` cuts them, and the `step` is made on
all `ranks` by an `engine`: one device on its own, or DeepSpeed.  `checkpoint` keeps what a killed stage goes on from.
"""
