"""What a plan takes: sharding, hours, bytes; corrected by what finished stages took.

In come a plan, a store and a cluster; out go a `placement` for each scale, and `costs`.  `budget` says what to run
first.
"""
