"""`docker cp`'s cases as data, and what a real dockerd made of them."""
