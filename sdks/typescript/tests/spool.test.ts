/** Usage while the server is away: nothing is lost, and nothing is charged twice. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { type KeptEvent, MemorySpool, type QuotaStackOptions, SpoolFullError } from "quotastack";
import { Obstacle } from "./support/proxy.js";
import { client, newUser, spent, subscribed, URL_OF_EDGE, waitUntil } from "./support/shop.js";

const OUTAGE_MS = Number(process.env.QUOTASTACK_TEST_OUTAGE_MS ?? 30_000);

/** A client behind a proxy, which gives up quickly. */
async function behindProxy(options: QuotaStackOptions = {}) {
  const proxy = await Obstacle.before(URL_OF_EDGE);
  const quotastack = client({ edgeUrl: proxy.url, attempts: 1, onError: () => {}, ...options });
  return { proxy, quotastack };
}

describe("an outage", () => {
  test("of half a minute: every event is charged once, in order, dated when it happened", async (context) => {
    const { proxy, quotastack } = await behindProxy({ attempts: 2 });
    context.after(() => proxy.down());
    const user = await subscribed();
    // The first arrives, and nobody hears of it: it is in the spool, and charged already.
    proxy.turns.push("lose the answer", "lose the answer");
    const unheard = await quotastack.recordUsage(user, { feature_key: "api_calls", units: 100 });
    assert.deepEqual(unheard, {
      accepted: true,
      event_id: null,
      cost: null,
      balance: null,
      overage: null,
      durability: "local",
      source: "fallback",
    });
    await proxy.down();
    const [began, keys] = [Date.now(), [] as string[]];
    while (Date.now() - began < OUTAGE_MS) {
      const idempotency_key = `${String(keys.length).padStart(4, "0")}-${randomUUID()}`;
      keys.push(idempotency_key);
      const recorded = await quotastack.recordUsage(user, { feature_key: "api_calls", idempotency_key });
      assert.equal(recorded.durability, "local");
      await new Promise((resolve) => setTimeout(resolve, OUTAGE_MS / 30));
    }
    await proxy.up();
    await waitUntil(async () => (await spent(user)) === 100 + keys.length, "everything to be charged once");
    const sent = proxy.seen.flatMap(({ path, body }) => (path === "/v1/usage/batch" ? (body.events as never[]) : []));
    const first = sent.filter(({ idempotency_key }) => keys.includes(idempotency_key));
    assert.deepEqual(
      first.map(({ idempotency_key }) => idempotency_key),
      keys,
    );
    const times = first.map(({ timestamp }) => Date.parse(timestamp));
    assert(times.every((time, index) => time >= (times[index - 1] ?? began - 1000)));
    assert((times.at(-1) ?? 0) - (times[0] ?? 0) > OUTAGE_MS / 2);
    assert.deepEqual(await quotastack.close(), { waiting: 0, error: null });
  });

  test("of a batch on its way: those that nobody answered are kept and charged once", async (context) => {
    const { proxy, quotastack } = await behindProxy({ flushInterval: 10 });
    context.after(() => proxy.down());
    const user = await subscribed();
    proxy.turns.push("lose the answer");
    for (let count = 0; count < 50; count += 1) quotastack.bufferUsage(user, { feature_key: "api_calls" });
    await waitUntil(() => proxy.seen.length > 1, "the spool to be tried");
    assert.deepEqual(await quotastack.close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 50);
  });

  test("that is known of keeps nobody waiting for retries; when it is over, all is as before", async (context) => {
    const { proxy, quotastack } = await behindProxy({ attempts: 3, drainInterval: 60_000 });
    context.after(() => proxy.down());
    const user = await subscribed();
    const requests = async (work: Promise<unknown>) => {
      const before = proxy.seen.length;
      await work;
      return proxy.seen.length - before;
    };
    const record = () => quotastack.recordUsage(user, { feature_key: "api_calls" });
    proxy.turns.push("refuse", "refuse", "refuse", "refuse", "refuse");
    assert.equal(await requests(record()), 3);
    assert.equal(await requests(quotastack.flush()), 1);
    assert.equal(await requests(record()), 1);
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    proxy.turns.push("refuse", "refuse");
    assert.equal(await requests(record()), 3);
    assert.equal(await spent(user), 3);
  });

  test("is told once, and flush says what still waits and why", async (context) => {
    const errors: unknown[] = [];
    const { proxy, quotastack } = await behindProxy({ onError: (error) => errors.push(error) });
    context.after(() => proxy.down());
    const user = await subscribed();
    await proxy.down();
    await quotastack.recordUsage(user, { feature_key: "api_calls" });
    for (let count = 0; count < 3; count += 1) {
      const report = await quotastack.flush();
      assert.equal(report.waiting, 1);
      assert.match(String(report.error), /UnreachableError/);
    }
    assert.equal(errors.length, 1);
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
  });
});

describe("what waits", () => {
  test("is refused where there is no room, and the call says so", async (context) => {
    const { proxy, quotastack } = await behindProxy({ spool: new MemorySpool({ maxBytes: 500 }), maxBuffered: 3 });
    context.after(() => proxy.down());
    const user = await subscribed();
    await proxy.down();
    const usage = { feature_key: "api_calls" };
    await quotastack.recordUsage(user, usage);
    await quotastack.recordUsage(user, usage);
    await assert.rejects(quotastack.recordUsage(user, usage), SpoolFullError);
    for (let count = 0; count < 4; count += 1) quotastack.bufferUsage(user, usage);
    assert.equal((await quotastack.flush()).waiting, 6);
    assert.throws(() => quotastack.bufferUsage(user, usage), SpoolFullError);
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    quotastack.bufferUsage(user, usage);
    await quotastack.close();
    assert.equal(await spent(user), 7);
  });

  test("goes to the spool where the buffer is full, while a server that hangs holds up what is under way", async (context) => {
    const spool = new MemorySpool();
    const { proxy, quotastack } = await behindProxy({ spool, maxBuffered: 10, flushInterval: 1, timeout: 3_000 });
    context.after(() => proxy.down());
    const user = await subscribed();
    proxy.turns.push("hang");
    quotastack.bufferUsage(user, { feature_key: "api_calls" });
    await waitUntil(() => proxy.seen.length === 1, "the first batch to be sent");
    const buffer = () => quotastack.bufferUsage(user, { feature_key: "api_calls" });
    for (let count = 0; count < 35; count += 1) {
      buffer();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await waitUntil(() => spool.size >= 25, "the rest to be in the spool");
    const inOneGo = () => {
      for (let count = 0; count < 35; count += 1) buffer();
    };
    const before = spool.size;
    assert.throws(inOneGo, /as many are on their way to the spool/);
    assert.deepEqual(await quotastack.close(), { waiting: 0, error: null });
    assert((await spent(user)) < 36 + 30, `with ${before} in the spool, what is under way is bounded`);
  });

  test("and is refused by the API is kept as rejected, told, and does not stop what is behind it", async (context) => {
    const [spool, told] = [new MemorySpool(), [] as string[]];
    const { proxy, quotastack } = await behindProxy({ spool, onRejected: ({ code }) => told.push(code) });
    context.after(() => proxy.down());
    const [user, stranger] = [await subscribed(), newUser()];
    await proxy.down();
    await quotastack.recordUsage(stranger, { feature_key: "api_calls" });
    await quotastack.recordUsage(user, { feature_key: "api_calls" });
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
    assert.deepEqual(told, ["unknown_customer"]);
    assert.deepEqual(
      spool.rejected.map(({ event }) => event.end_user_id),
      [stranger],
    );
  });

  test("a callback that fails keeps nothing from being sent", async (context) => {
    const { proxy, quotastack } = await behindProxy({
      onRejected: () => {
        throw new Error("of the application");
      },
    });
    context.after(() => proxy.down());
    const user = await subscribed();
    await proxy.down();
    await quotastack.recordUsage(newUser(), { feature_key: "api_calls" });
    await quotastack.recordUsage(user, { feature_key: "api_calls" });
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
  });

  test("a key that was used for something else is rejected; one whose answer was lost is not", async (context) => {
    const told: string[] = [];
    const { proxy, quotastack } = await behindProxy({
      onRejected: ({ code, event }) => told.push(`${code} ${event.units}`),
    });
    context.after(() => proxy.down());
    const [user, idempotency_key] = [await subscribed(), randomUUID()];
    await client().recordUsage(user, { feature_key: "api_calls", units: 2, idempotency_key });
    await proxy.down();
    await quotastack.recordUsage(user, { feature_key: "api_calls", units: 2, idempotency_key });
    await quotastack.recordUsage(user, { feature_key: "api_calls", units: 3, idempotency_key });
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.deepEqual(told, ["idempotency_key_reused 3"]);
    assert.equal(await spent(user), 2);
  });

  test("is refused and told once its key may be forgotten: without its time it would be charged twice", async (context) => {
    const [spool, told] = [new MemorySpool(), [] as string[]];
    const { proxy, quotastack } = await behindProxy({ spool, onRejected: ({ code }) => told.push(code) });
    context.after(() => proxy.down());
    const user = await subscribed();
    await spool.append([keptAt(user, Date.now() - 25 * 3_600_000)]);
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.deepEqual(told, ["timestamp_out_of_range"]);
    assert.equal(proxy.seen.length, 1);
    assert.equal(await spent(user), 0);
  });

  test("is charged when it arrives where the server's clock is elsewhere", async (context) => {
    const spool = new MemorySpool();
    const { proxy, quotastack } = await behindProxy({ spool, onRejected: () => assert.fail("it was rejected") });
    context.after(() => proxy.down());
    const user = await subscribed();
    await spool.append([keptAt(user, Date.now() + 3_600_000)]);
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
  });

  test("goes on although what was refused cannot be kept; it is told", async (context) => {
    class Unwritable extends MemorySpool {
      override reject(): Promise<void> {
        return Promise.reject(new RangeError("no room"));
      }
    }
    const [errors, told] = [[] as unknown[], [] as string[]];
    const { proxy, quotastack } = await behindProxy({
      spool: new Unwritable(),
      onRejected: ({ code }) => told.push(code),
      onError: (error) => errors.push(error),
    });
    context.after(() => proxy.down());
    const user = await subscribed();
    quotastack.bufferUsage(newUser(), { feature_key: "api_calls" });
    quotastack.bufferUsage(user, { feature_key: "api_calls" });
    assert.deepEqual(await quotastack.close(), { waiting: 0, error: null });
    assert.deepEqual([told, errors.map(String)], [["unknown_customer"], ["RangeError: no room"]]);
    assert.equal(await spent(user), 1);
  });
});

describe("the same key again", () => {
  test("is no fault of what was kept, sent with its time, and recorded", async (context) => {
    const { proxy, quotastack } = await behindProxy({ onRejected: () => assert.fail("it was rejected") });
    context.after(() => proxy.down());
    const user = await subscribed();
    const usage = { feature_key: "api_calls", units: 3, idempotency_key: randomUUID() };
    const record = () => quotastack.recordUsage(user, usage);
    await proxy.down();
    assert.equal((await record()).durability, "local");
    await proxy.up();
    assert.deepEqual(await quotastack.flush(), { waiting: 0, error: null });
    const again = await record();
    assert.deepEqual([again.accepted, again.source, again.durability], [true, "live", undefined]);
    const { results } = await quotastack.recordUsageBatch([{ ...usage, end_user_id: user }]);
    assert.deepEqual(
      results.map(({ status, replayed, idempotency_key }) => [status, replayed, idempotency_key]),
      [["accepted", true, usage.idempotency_key]],
    );
    quotastack.bufferUsage(user, usage);
    await quotastack.flush();
    await proxy.down();
    assert.equal((await record()).durability, "local", "in a second outage");
    await proxy.up();
    assert.deepEqual(await quotastack.close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 3);
    await assert.rejects(client().recordUsage(user, { ...usage, units: 4 }), { code: "idempotency_key_reused" });
    const other = await client().recordUsageBatch([{ ...usage, units: 4, end_user_id: user }]);
    assert.equal(other.results[0]?.code, "idempotency_key_reused");
  });

  test("is buffered any number of times, and charged once", async (context) => {
    const { proxy, quotastack } = await behindProxy({ onRejected: () => assert.fail("it was rejected") });
    context.after(() => proxy.down());
    const user = await subscribed();
    const usage = { feature_key: "api_calls", idempotency_key: randomUUID() };
    for (let turn = 0; turn < 3; turn += 1) {
      quotastack.bufferUsage(user, usage);
      await new Promise((resolve) => setTimeout(resolve, 5)); // each at a time of its own
      if (turn > 0) await quotastack.flush();
    }
    assert.equal((await quotastack.recordUsage(user, usage)).source, "live");
    assert.equal(await spent(user), 1);
    assert.equal(proxy.seen.length, 3);
  });
});

describe("the end of a client", () => {
  test("tells what is lost with it, and keeps nothing that nobody would send", async (context) => {
    const errors: unknown[] = [];
    const { proxy, quotastack } = await behindProxy({ onError: (error) => errors.push(error), timeout: 2_000 });
    context.after(() => proxy.down());
    const user = await subscribed();
    proxy.turns.push("hang", "refuse");
    const late = quotastack.recordUsage(user, { feature_key: "api_calls" });
    await waitUntil(() => proxy.seen.length === 1, "the request to be on its way");
    quotastack.bufferUsage(user, { feature_key: "api_calls" });
    assert.equal((await quotastack.close()).waiting, 1);
    assert.match(String(errors.at(-1)), /1 usage events .* are lost/);
    await assert.rejects(late, /closed/);
  });
});

function keptAt(user: string, at: number): KeptEvent {
  const event = { end_user_id: user, feature_key: "api_calls", idempotency_key: randomUUID() };
  return { event, at: new Date(at).toISOString() };
}
