"""One journalled step per file."""
