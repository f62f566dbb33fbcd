"""The spot side of the venue: wallets, orders, matching. Shares users, keys and the clock with futures.

Rules that Gate publishes and clients trip over:

- A market order to buy is sized in quote, every other one in base.
- Fees are taken from what is received: whoever buys 1 has 0.998 of it, unless points pay.
- `text` finds pending orders only; a finished one is found by id, or in the list of finished ones.
- Nothing is lent here: a sell beyond the balance is refused, so there are no short positions.

Nothing here awaits: each call is one atomic step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from loadtest.exchanges.gateio import spot_rules, spot_views
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import TEXT, Arrival
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.spot_book import SpotBook
from loadtest.exchanges.gateio.spot_orders import NewSpotOrder, SpotOrder
from loadtest.exchanges.gateio.spot_pairs import DEFAULT_PAIRS, Pair
from loadtest.exchanges.gateio.spot_wallets import SpotTrade, Wallet

INFINITY = Decimal("Infinity")
COUNTDOWN_LEAST_S = 5


class SpotExchange:
    """Books, wallets and orders of the simulated spot market."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        pairs: Iterable[Pair] = DEFAULT_PAIRS,
    ) -> None:
        self.now = now
        self.monotonic = monotonic
        self.books = {pair.id: SpotBook(pair) for pair in pairs}
        self.wallets: dict[str, Wallet] = {}  # by api key
        self.orders: list[SpotOrder] = []  # all that were ever accepted, in order of execution
        self.on_price: list[Callable[[str], None]] = []
        self.tell: Callable[[str, str, str | None, list[Any]], None] | None = None
        """Key, channel, pair (None: of no pair) and what is pushed (ws/hub.py)."""
        self._next_id = 1_000_000_000_001
        self._next_trade = 1
        self._queue = 0

    # ------------------------------------------------------------------ set up

    def wallet(self, account: Account) -> Wallet:
        """Made empty at the first question: there is no spot account to be funded first."""
        wallet = self.wallets.setdefault(account.key, Wallet())
        self._count_down(account.key, wallet)
        return wallet

    def book(self, pair: str) -> SpotBook:
        book = self.books.get(pair)
        if book is None:
            raise Refusal("INVALID_CURRENCY_PAIR", f"Invalid currency pair {pair}")
        return book

    def set_price(
        self, pair: str, price: Decimal, *, levels: int | None = None,
        level_size: Decimal | None = None,
    ) -> int:  # fmt: skip
        """Move the market and the maker's quotes; returns the number of resting orders they hit."""
        if not price.is_finite() or price <= 0:
            raise invalid("price", price)
        self.run_countdowns()
        book = self.book(pair)
        book.quote_around(price, levels=levels, level_size=level_size)
        hit = list(book.maker_met())
        for order in hit:
            assert order.price is not None
            self._fill(order, order.left, order.price, taker=False)
        for told in self.on_price:
            told(pair)
        return len(hit)

    # ------------------------------------------------------------------ placing

    def place(self, account: Account, wanted: NewSpotOrder, arrival: Arrival) -> SpotOrder:
        """Execute one order request. Raises Refusal; then nothing has changed."""
        self.run_countdowns()
        wallet = self.wallet(account)
        book = self.book(wanted.pair)
        limit = spot_rules.limit_of(wanted, book)
        spot_rules.check_size(wanted, book.pair)
        paid_in = book.pair.quote if wanted.is_buy else book.pair.base
        cost = wanted.amount
        if wanted.is_buy and wanted.price is not None:
            cost = wanted.amount * wanted.price
        if wallet.of(paid_in).available < cost:
            raise Refusal("BALANCE_NOT_ENOUGH", "Not enough balance")
        quotes = book.opposite(buy=wanted.is_buy, limit=limit)
        if wanted.tif == "poc" and quotes:
            raise Refusal("POC_FILL_IMMEDIATELY", "Order would match and take immediately")
        if wanted.tif == "fok" and spot_rules.there(wanted, quotes) < wanted.amount:
            raise Refusal("FOK_NOT_FILL", "FOK order cannot be filled completely")
        order = self._accept(account, wallet, wanted, paid_in, cost, arrival)
        for quote in quotes:
            qty = self._takes(order, quote.price, quote.qty, book.pair)
            if qty <= 0:
                break
            if quote.order is not None:
                self._fill(quote.order, qty, quote.price, taker=False)
            self._fill(order, qty, quote.price, taker=True)
            book.last = quote.price
            if not order.is_open:
                break
        if order.is_open:
            self._rest(order, book)
        return order

    def _accept(
        self, account: Account, wallet: Wallet, wanted: NewSpotOrder, paid_in: str, cost: Decimal,
        arrival: Arrival,
    ) -> SpotOrder:  # fmt: skip
        now = self.now()
        order = SpotOrder(
            id=self._next_id,
            key=account.key,
            uid=account.uid,
            pair=wanted.pair,
            side=wanted.side,
            amount=wanted.amount,
            left=wanted.amount,
            price=wanted.price,
            tif=wanted.tif,
            text=wanted.text,
            account=wanted.account,
            create_time=now,
            update_time=now,
            executed_monotonic=self.monotonic(),
            arrival=arrival,
            locked=cost,
            fee_currency=self.book(wanted.pair).pair.base if wanted.is_buy else
            self.book(wanted.pair).pair.quote,
        )  # fmt: skip
        self._next_id += 1
        self.orders.append(order)
        wallet.open_orders[order.id] = order
        wallet.move(paid_in, -cost, cost)
        self._told(order, "put")
        return order

    @staticmethod
    def _takes(order: SpotOrder, price: Decimal, offered: Decimal, pair: Pair) -> Decimal:
        """Base that the order takes at this price. What quote buys is cut to the pair's precision."""
        if order.price is None and order.is_buy:
            steps = (order.left / price / pair.step).to_integral_value(ROUND_FLOOR)
            return min(offered, steps * pair.step)
        return min(offered, order.left)

    # ------------------------------------------------------------------ filling, ending

    def _fill(self, order: SpotOrder, qty: Decimal, price: Decimal, *, taker: bool) -> None:
        pair = self.book(order.pair).pair
        wallet = self.wallets[order.key]
        value = qty * price
        got, fee_currency = (qty, pair.base) if order.is_buy else (value, pair.quote)
        fee = got * pair.fee_rate
        points = value * pair.fee_rate if wallet.pays_in_points else ZERO
        if wallet.pays_in_points:
            fee = ZERO
        if order.is_buy:
            paid = qty * order.price if order.price is not None else value
            wallet.move(pair.quote, paid - value, -paid)  # bought cheaper than its limit
            order.locked -= paid
        else:
            wallet.move(pair.base, ZERO, -qty)
            order.locked -= qty
        wallet.move(fee_currency, got - fee)
        order.left -= value if order.price is None and order.is_buy else qty
        order.filled += qty
        order.filled_total += value
        order.fee += fee
        order.point_fee += points
        order.update_time = self.now()
        wallet.trades.append(
            SpotTrade(
                id=self._next_trade,
                create_time=order.update_time,
                pair=order.pair,
                side=order.side,
                role="taker" if taker else "maker",
                amount=qty,
                price=price,
                order_id=order.id,
                fee=fee,
                fee_currency=fee_currency,
                point_fee=points,
                text=order.text,
            )
        )
        self._next_trade += 1
        self._told(order, "update", wallet.trades[-1])
        in_quote = order.price is None and order.is_buy
        if not order.left or (in_quote and self._takes(order, price, INFINITY, pair) <= 0):
            self._end(order, "filled")

    def _rest(self, order: SpotOrder, book: SpotBook) -> None:
        if order.price is None or order.tif in ("ioc", "fok"):
            self._end(order, "ioc" if order.price is not None else "depth_not_enough")
            return
        self._queue += 1
        order.queue = self._queue
        book.resting.append(order)

    def _end(self, order: SpotOrder, finish_as: str) -> None:
        wallet, book = self.wallets[order.key], self.book(order.pair)
        paid_in = book.pair.quote if order.is_buy else book.pair.base
        wallet.move(paid_in, order.locked, -order.locked)
        order.locked = ZERO
        if order in book.resting:
            book.resting.remove(order)
        order.finish_as = finish_as
        order.finish_time = order.update_time = self.now()
        del wallet.open_orders[order.id]
        wallet.finished.append(order)
        self._told(order, "finish")

    def _told(self, order: SpotOrder, event: str, trade: SpotTrade | None = None) -> None:
        """Push what happened to an order, its fill, and the balances that it moved."""
        if self.tell is None:
            return
        pair, wallet = self.book(order.pair).pair, self.wallets[order.key]
        self.tell(order.key, "spot.orders", order.pair, [spot_views.pushed_order(order, event)])
        if trade is not None:
            row = spot_views.pushed_trade(trade, order.uid)
            self.tell(order.key, "spot.usertrades", order.pair, [row])
        held = {currency: wallet.of(currency) for currency in (pair.base, pair.quote)}
        rows = [spot_views.pushed_balance(c, it, order) for c, it in held.items()]
        self.tell(order.key, "spot.balances", None, rows)

    # ------------------------------------------------------------------ looking up, changing

    def find(self, account: Account, ident: str, pair: str | None) -> SpotOrder:
        """By id, or by text while it is open. Raises ORDER_NOT_FOUND."""
        wallet = self.wallet(account)
        if pair is not None:
            self.book(pair)
        found: SpotOrder | None = None
        if TEXT.fullmatch(ident):
            named = [o for o in wallet.open_orders.values() if o.text == ident]
            found = named[-1] if named else None  # the later one hides the earlier
        elif ident.isascii() and ident.isdigit():
            place = int(ident) - (self._next_id - len(self.orders))
            found = self.orders[place] if 0 <= place < len(self.orders) else None
        else:
            raise invalid("order_id", ident)
        if found is None or found.key != account.key or pair not in (None, found.pair):
            raise Refusal("ORDER_NOT_FOUND", f"Order with ID {ident} not found")
        return found

    def cancel(self, account: Account, ident: str, pair: str) -> SpotOrder:
        """Raises ORDER_NOT_FOUND, ORDER_CLOSED or ORDER_CANCELLED."""
        order = self.find(account, ident, pair)
        if not order.is_open:
            label = "ORDER_CLOSED" if order.status == "closed" else "ORDER_CANCELLED"
            raise Refusal(label, f"order {order.status} already")
        self._end(order, "cancelled")
        return order

    def cancel_all(
        self, account: Account, pair: str | None = None, side: str | None = None
    ) -> list[SpotOrder]:
        wallet = self.wallet(account)
        if pair is not None:
            self.book(pair)
        if side not in (None, "buy", "sell"):
            raise invalid("side", side)
        chosen = [
            order
            for order in wallet.open_orders.values()
            if pair in (None, order.pair) and side in (None, order.side)
        ]
        for order in chosen:
            self._end(order, "cancelled")
        return chosen

    def amend(
        self, account: Account, ident: str, pair: str, *, amount: Decimal | None,
        price: Decimal | None, text: str | None,
    ) -> SpotOrder:  # fmt: skip
        """Change what rests. Less than what is filled cancels it; a changed order may trade at once."""
        order = self.find(account, ident, pair)
        if not order.is_open:
            label = "ORDER_CLOSED" if order.status == "closed" else "ORDER_CANCELLED"
            raise Refusal(label, f"order {order.status} already")
        if amount is None and price is None:
            raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: amount")
        if amount is not None and amount < order.filled:
            self._end(order, "cancelled")
            return order
        book, wallet = self.book(pair), self.wallet(account)
        changed = NewSpotOrder(
            pair=pair, side=order.side, amount=order.amount if amount is None else amount,
            price=order.price if price is None else price, tif="gtc", text=order.text,
            account=order.account,
        )  # fmt: skip
        spot_rules.limit_of(changed, book)
        spot_rules.check_size(changed, book.pair)
        assert changed.price is not None
        left = changed.amount - order.filled
        paid_in = book.pair.quote if order.is_buy else book.pair.base
        needs = left * changed.price if order.is_buy else left
        if wallet.of(paid_in).available + order.locked < needs:
            raise Refusal("BALANCE_NOT_ENOUGH", "Not enough balance")
        if price is not None or left > order.left:
            self._queue += 1
            order.queue = self._queue
        wallet.move(paid_in, order.locked - needs, needs - order.locked)
        order.amount, order.left, order.price, order.locked = (
            changed.amount, left, changed.price, needs,
        )  # fmt: skip
        order.amend_text = text or order.amend_text
        order.update_time = self.now()
        if not order.left:
            self._end(order, "filled")
            return order
        self._told(order, "update")
        self._cross(order, book)
        return order

    def _cross(self, order: SpotOrder, book: SpotBook) -> None:
        """After an amend: what the order now meets."""
        if not order.is_open or order.price is None:
            return
        book.resting.remove(order)
        for quote in book.opposite(buy=order.is_buy, limit=order.price):
            qty = min(quote.qty, order.left)
            if quote.order is not None:
                self._fill(quote.order, qty, quote.price, taker=False)
            self._fill(order, qty, quote.price, taker=True)
            if not order.is_open:
                return
        book.resting.append(order)

    # ------------------------------------------------------------------ countdown

    def set_countdown(self, account: Account, seconds: int, pair: str | None) -> float:
        """Returns when it cancels, Unix seconds; 0 where it was called off."""
        if seconds != 0 and seconds < COUNTDOWN_LEAST_S:
            raise invalid("timeout", seconds)
        if pair is not None:
            self.book(pair)
        countdowns = self.wallet(account).countdowns
        if seconds == 0:
            countdowns.pop(pair or "", None)
            return 0.0
        countdowns[pair or ""] = self.now() + seconds
        return countdowns[pair or ""]

    def run_countdowns(self) -> None:
        """Cancel what is due: before anything trades. Each question about a wallet does so for it."""
        for key, wallet in self.wallets.items():
            self._count_down(key, wallet)

    def _count_down(self, key: str, wallet: Wallet) -> None:
        for pair in [p for p, due in wallet.countdowns.items() if due <= self.now()]:
            del wallet.countdowns[pair]
            for order in list(wallet.open_orders.values()):
                if pair in ("", order.pair):
                    self._end(order, "cancelled")
