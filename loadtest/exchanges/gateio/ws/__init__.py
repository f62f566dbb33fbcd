"""Gate's futures WebSocket v4: subscriptions that push, and an order API beside REST.

`wire` (bytes, by wsproto), `session` (one connection), `hub` (who listens to what), `messages` (what
is pushed), `order_api` (requests over the socket). Source: Gate Futures WebSocket v4 documentation.
"""
