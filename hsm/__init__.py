"""Keys that never leave their token. Knows PKCS#11; knows no orders."""
