"""A real multi-node Slurm on one machine, made of namespaces, and the tests that need it."""
