"""ImageQueue: photographs in, labels out, through a Redis list that many web servers and workers share."""
