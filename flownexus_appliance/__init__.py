"""FlowNexus appliance: a private LwM2M cloud in one daemon."""

__version__ = "0.1.0"
