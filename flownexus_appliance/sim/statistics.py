"""What a fleet of simulated devices has done so far: plain counters, shared by all its devices."""

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """Counts since the start; `registered` is the number of devices registered at the moment."""

    registered: int = 0
    registrations: int = 0
    registration_failures: int = 0
    last_failure: str = ""  # why the last Register failed
    updates: int = 0
    notifications_sent: int = 0
    notifications_acknowledged: int = 0
    notifications_unconfirmed: int = 0  # sent without asking for an acknowledgement
    sends: int = 0
    sends_acknowledged: int = 0
    requests_served: int = 0
    requests_refused: int = 0
    duplicates: int = 0
    retransmissions: int = 0
    timeouts: int = 0
    resets: int = 0
    unreadable: int = 0
    unsent: int = 0  # datagrams the network or the kernel would not take
    unheard: int = 0  # datagrams that came while the device slept
    rebindings: int = 0  # new ports taken without a word
    handshakes: int = 0
    handshakes_resumed: int = 0  # of them by an earlier session
    handshakes_failed: int = 0
    last_handshake_failure: str = ""
    sessions_ended: int = 0  # by the server, or broken
    records_unopened: int = 0  # came again, forged, or of a session that is gone
    bootstraps: int = 0  # that led to a registration
    bootstraps_failed: int = 0
    last_bootstrap_failure: str = ""
    firmware_begun: int = 0  # packages that began to come
    firmware_bytes: int = 0  # of packages, by CoAP
    firmware_downloaded: int = 0
    firmware_failed: int = 0  # Update Results that are failures
    firmware_installed: int = 0

    @property
    def reports_acknowledged(self) -> int:
        return self.notifications_acknowledged + self.sends_acknowledged

    @property
    def reports(self) -> int:
        """Reports the server has taken, or was told without being asked whether it did."""
        return self.reports_acknowledged + self.notifications_unconfirmed

    @property
    def failures(self) -> int:
        return self.registration_failures + self.timeouts + self.resets
