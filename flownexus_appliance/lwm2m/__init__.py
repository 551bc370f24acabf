"""LwM2M without a wire: paths, values, codecs, object model, state machines.

Nothing here performs I/O, reads a clock or draws randomness: time and random bytes are arguments.
"""
