"""The study's quantities: retention, forgetting, transfer, and how they change with scale.

In come measurements; out go `curves` of retention, their `trends` over scale, zero-shot `transfer` and what replicates
(`replication`), `differences` between scales, `multilinguality` by layer, and the points of a `search`.
"""
