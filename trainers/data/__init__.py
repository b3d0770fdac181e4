"""What a stage reads: files of the mirror, tokenised once and mapped into memory.

In comes a stage; `mirror` finds its files, `tokenise` caches their tokens, `stagedata` has everything that it reads.
"""
