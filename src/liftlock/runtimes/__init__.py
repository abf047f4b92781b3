"""Ways of running a tracking server behind one interface."""
