"""What the appliance does with devices: drives the core, keeps what they say, asks them things."""
