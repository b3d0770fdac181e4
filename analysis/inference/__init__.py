"""Uncertainty: intervals, tests and corrections.  No word of NLP in here; tested by simulation.

In come scores by seed and example; out go estimates with their intervals (`statistics`), an `effect` that can be
subtracted and averaged before it is one, and the probability of an `improvement`.
"""
