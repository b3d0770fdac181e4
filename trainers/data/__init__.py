"""Where data sets come from: the mirror, the tokeniser, and the sandbox."""
