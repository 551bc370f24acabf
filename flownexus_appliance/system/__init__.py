"""The machine underneath: configuration, clock, logs, systemd and (later) D-Bus."""
