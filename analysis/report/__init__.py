"""The report: one page, its tables for papers, its figures as files.

In comes a study; `report` writes everything.  `findings` are its sentences, `tabular` its tables; `xtreme_tables` set
its scores beside the published ones.
"""
