"""A hospital's side: reads scans, trains, masks, and keeps the ledger of what that cost.

Privacy: everything of a patient stays in this package and in the site's data folder.
"""
