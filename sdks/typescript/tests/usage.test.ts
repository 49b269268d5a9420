/** Usage: once, whatever happens on the way. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import {
  InsufficientCreditsError,
  LimitReachedError,
  MemorySpool,
  NotEntitledError,
  NotFoundError,
  type QuotaStackError,
  tokenUsage,
  UnavailableError,
  UnreachableError,
  usageEvents,
  ValidationError,
} from "quotastack";
import { Obstacle } from "./support/proxy.js";
import { CREDITS, client, newUser, refusal, spent, subscribed, URL_OF_EDGE, waitUntil } from "./support/shop.js";

const quotastack = client();

describe("recorded at once", () => {
  test("what it cost and what is left", async () => {
    const recorded = await quotastack.recordUsage(await subscribed(), { feature_key: "api_calls", units: 2.5 });
    assert.deepEqual([recorded.cost, recorded.balance, recorded.source], [2.5, CREDITS - 2.5, "live"]);
  });

  test("the same key charges once; with other units it is refused, and says what differs", async () => {
    const [user, idempotency_key] = [await subscribed(), randomUUID()];
    const usage = { feature_key: "api_calls", units: 2, idempotency_key };
    const first = await quotastack.recordUsage(user, usage);
    assert.deepEqual(await quotastack.recordUsage(user, usage), first);
    await assert.rejects(quotastack.recordUsage(user, { ...usage, units: 3 }), (error: QuotaStackError) => {
      assert(error instanceof ValidationError);
      assert.deepEqual([error.code, error.mismatch], ["idempotency_key_reused", ["units"]]);
      return true;
    });
    assert.equal(await spent(user), 2);
  });

  test("the answer is lost after the request went through: one charge", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    proxy.turns.push("lose the answer", "lose the answer", "refuse");
    const user = await subscribed();
    const recorded = await client({ edgeUrl: proxy.url }).recordUsage(user, { feature_key: "api_calls", units: 7 });
    assert.deepEqual([recorded.cost, recorded.source], [7, "live"]);
    assert.equal(new Set(proxy.seen.map(({ body }) => body.idempotency_key)).size, 1);
    assert.equal(proxy.seen.length, 4);
    assert.equal(await spent(user), 7);
  });

  test("429 and 503 are waited for as long as they ask, and sent again under the same key", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const retry = { "Retry-After": "1" };
    proxy.turns.push({ status: 429, headers: retry, body: { code: "too_many_requests" } }, { status: 503 });
    const user = await subscribed();
    assert.equal((await client({ edgeUrl: proxy.url }).recordUsage(user, { feature_key: "api_calls" })).cost, 1);
    const [first, second] = proxy.seen;
    assert((second?.at ?? 0) - (first?.at ?? 0) >= 990);
    assert.equal(first?.body.idempotency_key, second?.body.idempotency_key);
  });

  test("an API that hangs is waited for so long in all, and then it is kept", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    proxy.turns.push("hang", "hang", "hang", "hang");
    const user = await subscribed();
    const patient = client({ edgeUrl: proxy.url, timeout: 400, usageTimeout: 600, spool: new MemorySpool() });
    const began = performance.now();
    const recorded = await patient.recordUsage(user, { feature_key: "api_calls", units: 2 });
    assert(performance.now() - began < 900);
    assert.deepEqual([recorded.source, recorded.durability], ["fallback", "local"]);
    proxy.turns.length = 0;
    assert.equal((await patient.close()).waiting, 0);
    assert.equal(await spent(user), 2);
  });

  test("refusals have classes of their own, and are not tried again", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const watched = client({ edgeUrl: proxy.url });
    const user = await subscribed();
    const refused = async (who: string, usage: object, kind: typeof QuotaStackError) => {
      const before = proxy.seen.length;
      const asked = watched.recordUsage(who, { feature_key: "api_calls", enforce: true, ...usage });
      await assert.rejects(asked, (error) => error instanceof kind);
      assert.equal(proxy.seen.length, before + 1);
    };
    await refused(user, { units: CREDITS + 1 }, InsufficientCreditsError);
    await refused(user, { feature_key: "reports", units: 3 }, LimitReachedError);
    await refused(user, { feature_key: "video" }, NotEntitledError);
    await refused(newUser(), {}, NotFoundError);
    await refused(user, { units: -1 }, ValidationError);
  });

  test("an error says what the API said", async () => {
    const user = await subscribed();
    const asked = quotastack.recordUsage(user, { feature_key: "reports", units: 3, enforce: true });
    const error = await refusal(asked);
    assert.deepEqual([error.status, error.code, error.context.limit], [402, "limit_reached", 2]);
    assert.match(error.requestId ?? "", /^req_/);
    assert.match(error.message, /^limit_reached: /);
  });

  test("enforced usage is never kept: without an answer it is an error", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const strict = client({ edgeUrl: proxy.url, attempts: 2 });
    const usage = { feature_key: "api_calls", enforce: true };
    proxy.turns.push({ status: 503 }, { status: 502, body: "<html>" });
    await assert.rejects(strict.recordUsage("anybody", usage), UnavailableError);
    proxy.turns.push("refuse", "refuse");
    await assert.rejects(strict.recordUsage("anybody", usage), UnreachableError);
    assert.equal((await strict.flush()).waiting, 0);
  });

  test("all tokens of a model's answer, under the request's one key", async () => {
    const user = await subscribed();
    const usage = { input_tokens: 1_000, cache_read_input_tokens: 3_000, output_tokens: 500 };
    const features = { input: "input_tokens", cached_input: "cached_input_tokens", output: "output_tokens" };
    const events = usageEvents(tokenUsage(usage), { features }, randomUUID());
    const { results } = await quotastack.recordUsageBatch(events.map((event) => ({ ...event, end_user_id: user })));
    assert.deepEqual(
      results.map(({ cost }) => cost),
      [2, 3, 4],
    );
  });
});

describe("an answer that is not the API's", () => {
  const none = [
    { status: 204, body: "" },
    { status: 200, body: { ok: true } },
    { status: 200, body: "<html>" },
  ];

  for (const turn of none) {
    test(`is none: ${turn.status} ${JSON.stringify(turn.body)}`, async (context) => {
      const proxy = await Obstacle.before(URL_OF_EDGE);
      context.after(() => proxy.down());
      const cut = client({
        edgeUrl: proxy.url,
        attempts: 2,
        checkAttempts: 2,
        failMode: "open",
        drainInterval: 60_000,
      });
      const user = await subscribed();
      proxy.turns.push(turn);
      assert.equal((await cut.recordUsage(user, { feature_key: "api_calls" })).cost, 1, "it is tried again");
      proxy.turns.push(turn, turn);
      assert.equal((await cut.recordUsage(user, { feature_key: "api_calls" })).durability, "local");
      proxy.turns.push(turn, turn);
      const { results } = await cut.recordUsageBatch([{ end_user_id: user, feature_key: "api_calls" }]);
      assert.equal(results[0]?.durability, "local");
      proxy.turns.push(turn, turn);
      const check = await cut.checkEntitlement(user, "api_calls");
      assert.deepEqual([check.allowed, check.source], [true, "fallback"]);
      proxy.turns.push(turn, turn);
      await assert.rejects(cut.reserve(user, { feature_key: "api_calls", units: 1 }), UnavailableError);
      assert.deepEqual(await cut.close(), { waiting: 0, error: null });
      assert.equal(await spent(user), 3);
    });
  }
});

describe("in batches", () => {
  test("more than a request takes: one result each, in order", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    const events = Array.from({ length: 1_501 }, (_, index) => ({
      end_user_id: index === 1_200 ? newUser() : user,
      feature_key: "api_calls",
      units: 1 + (index % 3),
    }));
    const { results } = await client({ edgeUrl: proxy.url }).recordUsageBatch(events);
    assert.equal(proxy.seen.length, 2);
    assert.deepEqual([results[1_200]?.status, results[1_200]?.code], ["rejected", "unknown_customer"]);
    results.forEach((result, index) => {
      if (index !== 1_200) assert.deepEqual([result.status, result.cost], ["accepted", 1 + (index % 3)]);
    });
    assert.equal(
      await spent(user),
      results.reduce((sum, { cost }) => sum + (cost ?? 0), 0),
    );
  });

  test("a batch of more bytes than a request takes is sent in several", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    const note = "x".repeat(4_000);
    const events = Array.from({ length: 1_000 }, () => ({
      end_user_id: user,
      feature_key: "api_calls",
      properties: { note },
    }));
    const { results } = await client({ edgeUrl: proxy.url }).recordUsageBatch(events);
    assert.equal(proxy.seen.length, 2);
    assert.deepEqual(
      results.map(({ status, source }) => [status, source]),
      events.map(() => ["accepted", "live"]),
    );
    assert.equal(await spent(user), 1_000);
  });

  test("a batch that a proxy finds too large is halved until it fits", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    proxy.turns.push({ status: 413 }, "pass", { status: 413 });
    const user = await subscribed();
    const event = { end_user_id: user, feature_key: "api_calls" };
    const { results } = await client({ edgeUrl: proxy.url }).recordUsageBatch([event, event, event, event]);
    assert.deepEqual(
      results.map(({ source, cost }) => [source, cost]),
      results.map(() => ["live", 1]),
    );
    assert.equal(await spent(user), 4);
  });

  test("once a part of it was answered it does not throw: what is unknown can be sent again, under its keys", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    const watched = client({ edgeUrl: proxy.url, attempts: 1, spool: new MemorySpool({ maxBytes: 100 }) });
    const events = Array.from({ length: 3_001 }, () => ({ end_user_id: user, feature_key: "api_calls" }));
    proxy.turns.push("pass", { status: 401, body: { code: "unauthenticated", detail: "No." } }, "lose the answer");
    const { results } = await watched.recordUsageBatch(events);
    const of = (start: number, end: number) => [...new Set(results.slice(start, end).map(({ status }) => status))];
    assert.deepEqual([of(0, 1_000), of(1_000, 3_000), of(3_000, 3_001)], [["accepted"], ["unknown"], ["accepted"]]);
    assert.deepEqual([results[1_000]?.code, results[2_000]?.code], ["unauthenticated", "unreachable"]);
    const again = results.flatMap(({ status, idempotency_key }, index) =>
      status === "unknown" ? [{ ...(events[index] as (typeof events)[0]), idempotency_key }] : [],
    );
    await watched.recordUsageBatch(again);
    assert.equal(await spent(user), 3_001);
    proxy.turns.push({ status: 401, body: { code: "unauthenticated", detail: "No." } });
    await assert.rejects(watched.recordUsageBatch(events.slice(0, 2)), { code: "unauthenticated" });
    const senseless = { ...(events[0] as (typeof events)[0]), units: Number.NaN };
    await assert.rejects(watched.recordUsageBatch([...events.slice(0, 1_000), senseless]), TypeError);
    assert.equal(await spent(user), 3_001);
  });

  test("a batch whose answer is lost is charged once", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    proxy.turns.push("lose the answer");
    const user = await subscribed();
    const event = { end_user_id: user, feature_key: "api_calls" };
    const { results } = await client({ edgeUrl: proxy.url }).recordUsageBatch([event, event, event]);
    assert.deepEqual(
      results.map(({ replayed }) => replayed),
      [true, true, true],
    );
    assert.equal(await spent(user), 3);
  });

  test("what cannot be delivered is kept, but for what is enforced: of that nobody knows", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    const cut = client({ edgeUrl: proxy.url, attempts: 1, drainInterval: 60_000, onError: () => {} });
    await proxy.down();
    const event = { end_user_id: user, feature_key: "api_calls" };
    const { results } = await cut.recordUsageBatch([event, { ...event, enforce: true }]);
    assert.deepEqual(
      results.map(({ status, durability }) => [status, durability]),
      [
        ["accepted", "local"],
        ["unknown", undefined],
      ],
    );
    await proxy.up();
    assert.deepEqual(await cut.close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
  });
});

describe("in the background", () => {
  test("events wait for each other, and go out together within the interval", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const user = await subscribed();
    const buffering = client({ edgeUrl: proxy.url, flushInterval: 50 });
    for (let count = 0; count < 100; count += 1) buffering.bufferUsage(user, { feature_key: "api_calls" });
    await waitUntil(async () => (await spent(user)) === 100, "all to be charged");
    assert.equal(proxy.seen.length, 1);
  });

  test("a thousand do not wait, and closing sends what is left", async () => {
    const user = await subscribed();
    const buffering = client({ flushInterval: 600_000 });
    for (let count = 0; count < 1_000; count += 1) buffering.bufferUsage(user, { feature_key: "api_calls" });
    await waitUntil(async () => (await spent(user)) === 1_000, "a full batch to be sent");
    buffering.bufferUsage(user, { feature_key: "api_calls", units: 5 });
    assert.deepEqual(await buffering.close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1_005);
    assert.throws(() => buffering.bufferUsage(user, { feature_key: "api_calls" }), /closed/);
  });

  test("what the API refuses is told, kept and not sent again", async () => {
    const rejected: string[] = [];
    const [user, stranger] = [await subscribed(), newUser()];
    const buffering = client({ onRejected: ({ event, code }) => rejected.push(`${event.end_user_id} ${code}`) });
    buffering.bufferUsage(stranger, { feature_key: "api_calls" });
    buffering.bufferUsage(user, { feature_key: "api_calls" });
    assert.equal((await buffering.close()).waiting, 0);
    assert.deepEqual(rejected, [`${stranger} unknown_customer`]);
    assert.equal(await spent(user), 1);
  });

  test("what is recorded is what was said, whatever becomes of it; and what is no JSON stops nothing but itself", async () => {
    const user = await subscribed();
    const buffering = client();
    const properties = { model: "small" };
    buffering.bufferUsage(user, { feature_key: "api_calls", properties });
    properties.model = "large";
    assert.throws(() => buffering.bufferUsage(user, { feature_key: "api_calls", properties: { big: 1n } }), TypeError);
    assert.throws(() => buffering.bufferUsage(user, { feature_key: "api_calls", units: Number.NaN }), TypeError);
    assert.equal((await buffering.close()).waiting, 0);
    const posted = () =>
      quotastack.request<{ data: { properties: object }[] }>("GET", "/v1/usage/events", {
        query: { end_user_id: user },
      });
    await waitUntil(async () => (await posted()).data.length === 1, "the ledger to have it");
    assert.deepEqual((await posted()).data[0]?.properties, { model: "small" });
  });

  test("enforced usage is not for the background", () => {
    assert.throws(() => client().bufferUsage("anybody", { feature_key: "api_calls", enforce: true }), TypeError);
  });
});
