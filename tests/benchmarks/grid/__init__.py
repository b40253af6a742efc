"""What the store and the site cost at the size of years: `make bench-grid`."""
