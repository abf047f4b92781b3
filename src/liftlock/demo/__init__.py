"""`liftlock demo`: a real old MLflow with real data, upgraded and brought back before your eyes."""
