"""Active exploration: motions chosen to tell the parameters of a twin, and what is learned so."""
