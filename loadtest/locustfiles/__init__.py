"""The only files that import Locust, which patches everything that runs in its process (gevent)."""
