"""The smallest honest adapter, to copy from: docs/brokers.md, *Adding one*. No settings name it."""
