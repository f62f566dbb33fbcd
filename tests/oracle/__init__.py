"""What plans must be, by fractions alone: an oracle for tests/property/test_plan.py."""
