"""Price-triggered and trailing orders."""

from __future__ import annotations

from typing import Any

from loadtest.exchanges.gateio import views
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint


def _create(call: Call) -> Answered:
    it = call.exchange.triggers.create(call.funded(), call.body)
    return 201, {"id": it.id, "id_string": str(it.id)}


def _list(call: Call) -> Answered:
    status = call.needed("status")
    found = call.exchange.triggers.list(call.funded(), status, call.contract())
    return 200, [views.triggered(it) for it in call.page(found)]


def _find(call: Call) -> Answered:
    return 200, views.triggered(call.exchange.triggers.find(call.funded(), call.argument))


def _cancel(call: Call) -> Answered:
    return 200, views.triggered(call.exchange.triggers.cancel(call.funded(), call.argument))


def _cancel_all(call: Call) -> Answered:
    gone = call.exchange.triggers.cancel_all(call.funded(), call.contract())
    return 200, [views.triggered(it) for it in gone]


def _amend(call: Call) -> Answered:
    it = call.exchange.triggers.amend(call.funded(), call.argument, call.body)
    return 200, {"id": it.id, "id_string": str(it.id)}


# ------------------------------------------------------------------ trailing orders


def _wrapped(call: Call, data: Any) -> Answered:
    """This family of paths answers inside an envelope."""
    at = int(call.exchange.now() * 1000)
    return 200, {"code": 0, "message": "", "data": data, "timestamp": at}


def _trail_create(call: Call) -> Answered:
    return _wrapped(call, {"id": call.exchange.trails.create(call.funded(), call.body).id})


def _trail_stop(call: Call) -> Answered:
    return _wrapped(
        call, {"order": views.trail(call.exchange.trails.stop(call.funded(), call.body))}
    )


def _trail_stop_all(call: Call) -> Answered:
    gone = call.exchange.trails.stop_all(call.funded(), call.body)
    return _wrapped(call, {"orders": [views.trail(it) for it in gone]})


def _trail_update(call: Call) -> Answered:
    it = call.exchange.trails.update(call.funded(), call.body)
    return _wrapped(call, {"order": views.trail(it)})


def _trail_list(call: Call) -> Answered:
    found = call.exchange.trails.list(
        call.funded(), contract=call.contract(), finished=call.flag("is_finished")
    )
    size = call.whole("page_size", 100, 1, 100)
    first = (call.whole("page_num", 1, 1) - 1) * size
    return _wrapped(call, {"orders": [views.trail(it) for it in found[first : first + size]]})


def _trail_detail(call: Call) -> Answered:
    it = call.exchange.trails.find(call.funded(), call.needed("id"))
    return _wrapped(call, {"order": views.trail(it)})


_TRAIL = "futures/usdt/autoorder/v1/trail"

ENDPOINTS = (
    Endpoint("POST", "futures/usdt/price_orders", "price_orders", _create),
    Endpoint("GET", "futures/usdt/price_orders", "list_price_orders", _list),
    Endpoint("DELETE", "futures/usdt/price_orders", "cancel_price_orders", _cancel_all),
    Endpoint("GET", "futures/usdt/price_orders/{}", "price_order", _find),
    Endpoint("DELETE", "futures/usdt/price_orders/{}", "cancel_price_order", _cancel),
    Endpoint("PUT", "futures/usdt/price_orders/amend/{}", "amend_price_order", _amend),
    Endpoint("POST", f"{_TRAIL}/create", "trail_create", _trail_create),
    Endpoint("POST", f"{_TRAIL}/stop", "trail_stop", _trail_stop),
    Endpoint("POST", f"{_TRAIL}/stop_all", "trail_stop_all", _trail_stop_all),
    Endpoint("POST", f"{_TRAIL}/update", "trail_update", _trail_update),
    Endpoint("GET", f"{_TRAIL}/list", "trail_list", _trail_list),
    Endpoint("GET", f"{_TRAIL}/detail", "trail_detail", _trail_detail),
)
