"""Pure functions from facts to a plan."""
