"""liftlock: upgrade a self-hosted MLflow from one release to another, reversibly, with proof."""

__version__ = "0.1.0"
