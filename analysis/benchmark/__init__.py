"""XTREME and the published study: their aggregation, their numbers, their claims.

In come measurements; out go `xtreme` means, verdicts (`verify`) against `published` numbers, `claims` as tests, and a
`submission` folder.
"""
