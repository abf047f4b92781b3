"""Python source: names resolved through imports, objects followed through a module and across the scanned tree."""
