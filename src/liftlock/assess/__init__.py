"""Ask questions of a deployment and answer with findings."""
