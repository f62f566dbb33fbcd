// The independent client trades on the simulator, over REST and the WebSocket:
// node gateio_api.mjs HOST SOCKET KEY SECRET
import assert from 'node:assert/strict';
import { RestClient, WebsocketAPIClient, WebsocketClient } from 'gateio-api';

const [, , baseUrl, wsUrl, apiKey, apiSecret] = process.argv;
const settle = 'usdt';
const contract = 'BTC_USDT';
const silent = { trace() {}, info() {}, error() {} };
const rest = new RestClient({ apiKey, apiSecret, baseUrl });

// listen first: what is pushed must come without being asked for
const pushed = [];
const waiting = [];
const socket = new WebsocketClient({ apiKey, apiSecret, wsUrl }, silent);
socket.on('update', (message) => {
  pushed.push(message);
  for (const look of waiting) look();
});
const told = (channel, matches) =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`nothing came on ${channel}`)), 10_000);
    const look = () => {
      const found = pushed
        .filter((message) => message.channel === channel)
        .flatMap((message) => message.result)
        .find(matches);
      if (found) {
        clearTimeout(late);
        resolve(found);
      }
    };
    waiting.push(look);
    look();
  });
const topics = ['futures.orders', 'futures.usertrades', 'futures.positions'];
const subscribed = new Promise((resolve) => {
  let left = topics.length + 1;
  socket.on('response', (message) => {
    assert.ok(!message.error, JSON.stringify(message));
    if (message.event === 'subscribe' && --left === 0) resolve();
  });
});
socket.subscribe(
  [...topics.map((topic) => ({ topic, payload: ['!all'] })), { topic: 'futures.balances', payload: [] }],
  'perpFuturesUSDTV4',
);
await subscribed;

// REST
const market = (size, text) => ({ settle, contract, size, price: '0', tif: 'ioc', text });
const limit = (size, price, text) => ({ settle, contract, size, price, tif: 'gtc', text });
const filled = await rest.submitFuturesOrder(market(3, 't-filled'));
assert.equal(filled.finish_as, 'filled');
assert.equal((await told('futures.usertrades', (it) => it.text === 't-filled')).size, 3);
assert.equal((await told('futures.positions', (it) => it.contract === contract)).size, 3);
await rest.submitFuturesOrder(limit(2, '59000', 't-rests'));
assert.equal((await told('futures.orders', (it) => it.text === 't-rests')).status, 'open');
const amended = await rest.updateFuturesOrder({ settle, order_id: 't-rests', price: '58000' });
assert.equal(amended.price, '58000');
const batch = await rest.submitFuturesBatchOrders({
  settle,
  orders: [limit(1, '58900', 't-b1'), limit(900_000, '58900', 't-b2')].map(({ settle: _, ...one }) => one),
});
assert.deepEqual(batch.map((one) => one.succeeded), [true, false]);
await rest.setFuturesOrderCancelCountdown({ settle, timeout: 30 });
await rest.setFuturesOrderCancelCountdown({ settle, timeout: 0 });
const all = await rest.cancelAllFuturesOrders({ settle, contract });
assert.equal(all.length, 2);
const ended = await told('futures.orders', (it) => it.text === 't-rests' && it.status === 'finished');
assert.equal(ended.finish_as, 'cancelled');
const stop = await rest.submitFuturesPriceTriggeredOrder({
  settle,
  initial: { contract, size: -3, price: '0', tif: 'ioc', reduce_only: true },
  trigger: { strategy_type: 0, price_type: 0, price: '50000', rule: 2, expiration: 86400 },
});
assert.ok(stop.id > 0);
assert.equal((await rest.getFuturesPositions({ settle, holding: true }))[0].size, 3);
await assert.rejects(rest.submitFuturesOrder(limit(1, '59000.05', 't-odd')), (error) => {
  assert.equal(error.body.label, 'INVALID_PARAM_VALUE');
  return true;
});

// orders over the WebSocket; this client takes the acknowledgement for the answer
const api = new WebsocketAPIClient({ apiKey, apiSecret, wsUrl, attachEventListeners: false }, silent);
const placed = await api.submitNewFuturesOrder({ contract, size: 1, price: '58800', tif: 'gtc', text: 't-ws' });
assert.equal(placed.header.status, '200', JSON.stringify(placed));
await told('futures.orders', (it) => it.text === 't-ws' && it.status === 'open');
const status = await api.getFuturesOrderStatus({ order_id: 't-ws' });
assert.equal(status.data.result.status, 'open');
const moved = await api.updateFuturesOrder({ order_id: 't-ws', price: '58700' });
assert.equal(moved.data.result.price, '58700');
const gone = await api.cancelFuturesOrder({ order_id: 't-ws' });
assert.equal(gone.data.result.finish_as, 'cancelled');
const refused = await api.cancelFuturesOrder({ order_id: 't-ws' }).catch((error) => error);
assert.equal(refused.data.errs.label, 'ORDER_FINISHED');

console.log(JSON.stringify({ client: 'gateio-api', ok: true }));
socket.closeAll(true);
api.getWSClient().closeAll(true);
process.exit(0);
