"""The report's figures: on the page (`interactive`), and as files for papers (`files`, `search`).

`plotting` has what they share; `heatmap` is the study's grid at one look.
"""
