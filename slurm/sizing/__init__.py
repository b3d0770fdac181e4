"""How much a stage takes of a machine: bytes, hours, and the least sharding that fits.

In come an encoder's sizes and a card (`gpus`); out go peaks of `memory`, the `fitting` placement, hours (`timing`).
`calibration` corrects both by what was measured; `machine` says how many stages one machine holds.
"""
