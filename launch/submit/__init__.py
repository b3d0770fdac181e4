"""From the plan to the queue: what is missing is sent, and nothing twice.

In come a plan and a cluster file; out go arrays of jobs: `reconcile` says what is missing, `send` writes it down and
calls sbatch, and jobs run a `snapshot` of the code.  `forecast` is `retain plan`; `allocation` runs a whole
sweep as steps of one job.
"""
