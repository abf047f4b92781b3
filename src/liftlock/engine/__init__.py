"""Journal, lock and executor: they know the Step interface and nothing else."""
