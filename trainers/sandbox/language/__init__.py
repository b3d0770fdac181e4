"""A miniature world and its languages, from which every sandbox data set is drawn.

In come random numbers; `lexicon`, `grammar` and `world` make sentences that are true or false; `items`, `tagged` and
`multiple_choice` make examples of them.
"""
