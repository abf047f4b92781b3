"""What is installed in this Python: read from metadata, nothing is imported but the standard library."""

import os
import platform
import sys


def describe(arguments, progress):
    """Distributions with requirements, entry-point groups and origin; where MLflow lies."""
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        import importlib_metadata as metadata
    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name or name.lower() in found:
            continue
        found[name.lower()] = {
            "name": name,
            "version": distribution.version,
            "requires": list(distribution.requires or ()),
            "groups": sorted({entry.group for entry in distribution.entry_points}),
            "direct_url": distribution.read_text("direct_url.json") or "",
        }
        if name.lower() == "mlflow":
            package = os.path.join(str(distribution.locate_file("")), "mlflow")
    if "mlflow" not in found:
        raise LookupError("MLflow is not installed in this Python")
    if not os.path.isdir(package):  # an editable installation keeps its code elsewhere
        import importlib.util

        package = os.path.dirname(importlib.util.find_spec("mlflow").origin)
    return {
        "python_version": platform.python_version(),
        "prefix": sys.prefix,
        "package": package,
        "distributions": sorted(found.values(), key=lambda entry: entry["name"].lower()),
    }
