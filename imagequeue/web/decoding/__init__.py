"""Decoding in processes of its own: what nobody can interrupt does not run in a web process.

A decoder of hostile bytes may take minutes, gigabytes or the interpreter's lock, and may crash. So each web process has
a few decoder processes, which it ends and replaces when a deadline passes, a client hangs up or the file crashes them.

    reader      the bodies of one request, read in its time and on its account
    pool        which request has a decoder, which waits, and when a decoder is ended
    place       one request in line for a decoder
    turn        for whom a decoder works, and until when
    largetasks  the turns of images and documents that take much memory
    decoder     one decoder process, as the web process sees it
    wire        messages between the two sides
    spawner     the process that forks decoders, small and without threads
    tasks       what a decoder does with a file or a document
    packing     compressed bodies
    documents   the formats of JSON in which images come
"""
