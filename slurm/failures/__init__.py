"""Why a job ended, and what to do: logs and SLURM's word → cause → decision.

In comes the end of a log; `causes` names what it tells of; out goes what `decide` makes of it.
"""
