"""What a host will carry, worked out from what recorded runs cost: `portcullis capacity`."""
