"""The report's figures: each is one specification, drawn into the page and, as PNG and SVG, for papers.

`catalogue` lists them; `drawing` makes files of them.  A figure is a `View` (`views`), put together from the parts in
`vegalite`; whoever draws something else uses these, too.
"""
