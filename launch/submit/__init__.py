"""From the plan to the queue: what is missing is sent, and nothing twice.

In come a plan and a cluster file; out go arrays of jobs (`reconcile`), which run a `snapshot` of the code.  `forecast`
shows them beforehand; `allocation` runs a whole sweep as steps of one job.
"""
