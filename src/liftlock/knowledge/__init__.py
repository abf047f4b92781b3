"""What is known about MLflow releases: data files and lookups, no I/O beyond reading them."""
