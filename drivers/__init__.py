"""drivers: from a metering device to a Measurement."""
