"""`./appliance load`: the product under Locust, its knee, and whether what it accepted was carried out once."""
