"""How much a stage takes of a machine: bytes, hours, and the least sharding that fits.

In come an encoder's sizes and a card (`gpus`); out go peaks of `memory`, the `fitting` placement, and hours (`timing`),
corrected by what was measured.
"""
