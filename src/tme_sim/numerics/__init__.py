"""Plain mathematics on arrays: counter-based random numbers, exact shares, transport on face rates, bins. Knows no biology."""
