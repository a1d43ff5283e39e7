"""One module a command: it parses, calls and prints; the science is elsewhere."""
