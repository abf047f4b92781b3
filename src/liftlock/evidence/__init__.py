"""What an auditor keeps of an upgrade."""
