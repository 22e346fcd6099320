"""A real OpenPBS on one machine, made of namespaces, and the tests that need it."""
