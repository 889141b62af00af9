"""The built-in suite: pick and place on a table, in batched NumPy."""
