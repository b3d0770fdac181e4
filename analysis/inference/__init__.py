"""Uncertainty: intervals, tests and corrections.  No word of NLP in here; tested by simulation.

In come scores by seed and example; out go estimates with their intervals (`statistics`), and the probability of an
`improvement`.
"""
