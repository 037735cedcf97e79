"""Attacks on a running service, and what everybody else sees meanwhile: `make attack`, bench/attack.py.

    attack      one attack: its settings, its code, and what is wanted of the service
    scene       a private service for one attack, with the clients that watch it
    row         one attack carried out, from the start of its service to the verdict
    verdict     what was seen, held against what is wanted
    report      the table
    figures     percentiles
    watchers    /livez and honest clients, each in a process of their own
    memory      resident memory of the web processes and of their decoders
    wire        an address, a request, a reply
    attackers   clients that repeat a request, and crowds of slow ones
    files       images that take long to decode

The families, one module each: decoding, documents, unread, slow, logs, names, jobs, worker. `catalogue` has them all.
"""
