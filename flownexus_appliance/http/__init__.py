"""The web side: pages, REST, live stream. Imports point down: fleet facts come by `ports.Fleet`.

DESIGN 7. Only this package knows aiohttp and Jinja; it never meets `coap/`.
"""
