"""The report's figures: each is one specification, drawn into the page and, as PNG and SVG, for papers.

In comes a study.  `catalogue` lists the figures; `gains` has the heat maps, which W&B shows, too; `drawing` makes
files.  A figure is a `View` (`views`), put together from the parts in `vegalite`.
"""
