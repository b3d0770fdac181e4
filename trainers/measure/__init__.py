"""What is measured: scores of a trained stage, and probes of what it retains.

In come a network and labelled sets; `evaluate` gives predictions and scores, `probes` those of an intermediate task,
whose new linear head `refit` fits.
"""
