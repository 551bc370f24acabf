"""CoAP over DTLS is CoAP: tests of plain CoAP, told to another `peer` and `server` by the conftest here."""

from .. import (
    test_blocks,
    test_downlink,
    test_downlink_blocks,
    test_notifications,
    test_packages,
    test_pushes,
    test_requests,
)

# What they say is of addresses, or of a datagram that no record holds.
_OF_UDP_ONLY = {
    "test_no_answer_at_all",
    "test_what_the_fleet_gets",
    "test_devices_with_the_same_message_id",
    "test_register_is_answered_with_two_location_options",
    "test_the_same_message_id_of_another_device_is_another_request",
    "test_a_datagram_too_long_is_passed_over",
}

_MODULES = (
    test_blocks,
    test_downlink,
    test_downlink_blocks,
    test_notifications,
    test_packages,
    test_pushes,
    test_requests,
)
for _module in _MODULES:
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and _name not in _OF_UDP_ONLY:
            globals()[f"{_name}__{_module.__name__.rpartition('.')[2]}"] = _test
