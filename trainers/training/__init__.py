"""Training: which examples meet in a step, the step itself, and what makes it resumable.

In come a network, sets and a recipe; `mixing` and `batches` draw and cut a step, the `engine` makes it on all `ranks`,
`checkpoint` and `saver` keep what a killed stage goes on from.
"""
