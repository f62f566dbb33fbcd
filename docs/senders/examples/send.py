"""A signal with the sender kit: HOOK_URL=https://… HOOK_SECRET=whsec_… python send.py BTC_USDT buy 0.5"""

import os
import sys

from portcullis_sender import NotDelivered, Refused, Sender, Signal


def main(ticker: str, action: str, quantity: str) -> int:
    with Sender(os.environ["HOOK_URL"], os.environ["HOOK_SECRET"]) as strategy:
        try:
            receipt = strategy.send(
                Signal(ticker=ticker, action=action, quantity=quantity),
                message_id=os.environ.get("MESSAGE_ID"),
            )
        except Refused as error:
            print(f"refused: {error.problem}", file=sys.stderr)
            return 1
        except NotDelivered as error:
            print(f"send the same again under {error.message_id}: {error}", file=sys.stderr)
            return 2
    print(f'{{"signalId":"{receipt.signal_id}"}}')
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
