"""Simulated LwM2M devices: for the demo, the tests and the load.

Honest clients: everything they tell the appliance goes through a UDP socket of their own. Beside
`coap/` this is the one package that may import aiocoap, for its message codec alone: the peer of a
test should not share the message layer of what is tested.
"""
