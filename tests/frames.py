"""Two frames are one: the same columns in the same order, of the same types, and each value to the last bit."""

from functools import partial

from polars.testing import assert_frame_equal

assert_same = partial(assert_frame_equal, check_exact=True)
"""`DataFrame.equals` takes 1 for 1.0."""
