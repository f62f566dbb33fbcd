"""A PKCS#11 module that stands in front of another one and misbehaves as it is told."""
