"""From the hub to the mirror: the files that a sweep reads, pinned to a commit, each hashed.

In comes a sweep; `fetch` brings what is needed and not there.
"""
