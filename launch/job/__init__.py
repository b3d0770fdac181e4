"""What runs inside an allocation: a batch step, its ranks, and the verdict on their end.

In comes a `bundle`, one JSON file with the stages of one job; `batch` starts a `rank` for each GPU, and `judge` decides
from their logs whether the job is requeued.  `records` keep what was sent.
"""
