"""The entries of the table of tasks.  Ids, splits, columns, languages: Hu et al. 2020 and the hub's own schemas."""
