"""Load on a server, and the account of it: what stress_test.py is made of."""
