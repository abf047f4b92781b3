"""A real MLflow release in an environment of its own: the only package that knows how MLflow is run."""
