"""One module per verb: the composition root."""
