"""Examples as tokens: what rows look like, and the flat arrays that are made of them.

In come columns of a table (`columns`) and texts (`texts`); out go `sets` that are mapped into memory.
"""
