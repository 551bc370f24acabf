"""The wire to devices: UDP sockets and, over them, one aiocoap context.

aiocoap's own types stay in this package. What a device asks goes to the `Uplinks` given by `app.py`
as plain data, what the fleet asks of devices comes in by `CoapServer.request`.
"""
