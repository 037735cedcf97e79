"""Attacks on a running service, and what everybody else sees meanwhile.

wire        an address, a request, a reply
"""
