"""`python -m imagequeue doctor`: what the service needs, what of it is missing here, and the line that fixes it.

Each module looks at one subject and returns Checks; `command` puts them together. Nothing at the top of a module here
imports a package that has to be installed first, so the command works on a machine that has only Python.
"""
