"""SLURM: its commands, the description of a cluster, what a stage takes of it, and why a job ended."""
