// The official Node client trades on the simulator: node gate_api.mjs HOST KEY SECRET
import assert from 'node:assert/strict';
import GateApi from 'gate-api';

const [, , host, key, secret] = process.argv;
const client = new GateApi.ApiClient(host);
client.setApiKeySecret(key, secret);
const futures = new GateApi.FuturesApi(client);

const order = (members) => Object.assign(new GateApi.FuturesOrder(), { contract: 'BTC_USDT', ...members });
const market = (size, text) => order({ size, price: '0', tif: 'ioc', text });
const limit = (size, price, text) => order({ size, price, tif: 'gtc', text });
const body = async (call) => (await call).body;

// place: what fills, what rests, what is refused
const filled = await body(futures.createFuturesOrder('usdt', market('3', 't-filled'), {}));
assert.equal(filled.finishAs, 'filled');
assert.equal((await body(futures.getPosition('usdt', 'BTC_USDT'))).size, '3');
const rests = await body(futures.createFuturesOrder('usdt', limit('2', '59000', 't-rests'), {}));
assert.equal(rests.status, 'open');
await assert.rejects(futures.createFuturesOrder('usdt', limit('1', '59000.05'), {}), (error) => {
  assert.equal(error.response.data.label, 'INVALID_PARAM_VALUE');
  return true;
});

// amend, find, cancel
const change = Object.assign(new GateApi.FuturesOrderAmendment(), { size: '4', price: '58000' });
const amended = await body(futures.amendFuturesOrder('usdt', String(rests.id), change, {}));
assert.deepEqual([amended.size, amended.price], ['4', '58000']);
assert.equal((await body(futures.getFuturesOrder('usdt', 't-rests'))).id, rests.id);
const gone = await body(futures.cancelFuturesOrder('usdt', String(rests.id), {}));
assert.equal(gone.finishAs, 'cancelled');

// batches
const batch = await body(
  futures.createBatchFuturesOrder('usdt', [limit('1', '59000', 't-b1'), limit('900000', '59000', 't-b2')], {}),
);
assert.deepEqual(batch.map((one) => one.succeeded), [true, false]);
assert.equal(batch[1].label, 'INSUFFICIENT_AVAILABLE');
const amends = [Object.assign(new GateApi.BatchAmendOrderReq(), { text: 't-b1', price: '58500' })];
assert.equal((await body(futures.amendBatchFutureOrders('usdt', amends, {})))[0].price, '58500');
const cancels = await body(futures.cancelBatchFutureOrders('usdt', [String(batch[0].id), '77'], {}));
assert.deepEqual(cancels.map((one) => one.succeeded), [true, false]);

// countdown
const task = Object.assign(new GateApi.CountdownCancelAllFuturesTask(), { timeout: 30 });
assert.ok((await body(futures.countdownCancelAllFutures('usdt', task))).triggerTime > Date.now() + 20_000);
task.timeout = 0;
assert.equal(Number((await body(futures.countdownCancelAllFutures('usdt', task))).triggerTime), 0);

// a price-triggered order
const stop = new GateApi.FuturesPriceTriggeredOrder();
stop.initial = Object.assign(new GateApi.FuturesInitialOrder(), {
  contract: 'BTC_USDT', size: 0, price: '0', tif: 'ioc', close: true,
});
stop.trigger = Object.assign(new GateApi.FuturesPriceTrigger(), {
  strategyType: 0, priceType: 0, price: '50000', rule: 2, expiration: 86400,
});
stop.orderType = 'close-long-position';
const placed = await body(futures.createPriceTriggeredOrder('usdt', stop));
const waiting = await body(futures.listPriceTriggeredOrders('usdt', 'open', {}));
assert.deepEqual(waiting.map((one) => one.idString), [placed.idString]);
const cancelled = await body(futures.cancelPriceTriggeredOrder('usdt', placed.id));
assert.equal(cancelled.finishAs, 'cancelled');

// money, positions, hedge mode
const account = await body(futures.listFuturesAccounts('usdt'));
assert.ok(Number(account.available) > 0);
assert.equal((await body(futures.getMyTrades('usdt', {})))[0].text, 't-filled');
await futures.createFuturesOrder('usdt', order({ size: '0', price: '0', tif: 'ioc', close: true }), {});
await futures.setDualMode('usdt', true);
await futures.createFuturesOrder('usdt', market('2'), {});
await futures.createFuturesOrder('usdt', market('-1'), {});
const sides = await body(futures.getDualModePosition('usdt', 'BTC_USDT'));
assert.deepEqual(sides.map((side) => [side.mode, side.size]), [['dual_long', '2'], ['dual_short', '-1']]);
const closing = order({ size: '0', price: '0', tif: 'ioc', reduceOnly: true, autoSize: 'close_long' });
assert.equal((await body(futures.createFuturesOrder('usdt', closing, {}))).finishAs, 'filled');

console.log(JSON.stringify({ client: 'gate-api', ok: true }));
