"""The driver: the order of things, the journal, the run folder."""
