"""Listings: real values underneath, Docker's words on display.

`listing` is the plain rows and columns (no pandas), `frame` makes them a DataFrame, `text` and `html` draw either.
"""
