"""ImageQueue: photographs in, labels out, through a Redis list that many web servers and workers share."""

__version__ = "0.1.0"
