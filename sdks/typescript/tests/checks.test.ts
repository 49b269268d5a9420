/** Checks, and what answers them when nobody does. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AuthenticationError, cached, RateLimitedError, ValidationError } from "quotastack";
import { Obstacle } from "./support/proxy.js";
import { CREDITS, client, newUser, refusal, subscribed, URL_OF_CORE, URL_OF_EDGE } from "./support/shop.js";

const quotastack = client();

describe("live answers", () => {
  test("a check says what the API says, and that it is live", async () => {
    const user = await subscribed();
    const check = await quotastack.checkEntitlement(user, "api_calls", { units: 3, properties: { model: "large" } });
    assert.equal(check.allowed, true);
    assert.deepEqual([check.balance, check.cost, check.reason, check.source], [CREDITS, 3, null, "live"]);
  });

  test("many checks at once, more than a request takes, in order", async () => {
    const [one, other] = [await subscribed(), newUser()];
    const questions = Array.from({ length: 101 }, (_, index) => ({
      end_user_id: index % 2 ? other : one,
      feature_key: "api_calls",
      units: index,
    }));
    const checks = await quotastack.checkEntitlements(questions);
    assert.deepEqual(
      checks.map(({ allowed, units }) => [allowed, units]),
      questions.map(({ end_user_id, units }) => [end_user_id === one, units]),
    );
  });

  test("a question that makes no sense is answered no, and the others are answered", async () => {
    const user = await subscribed();
    const checks = await quotastack.checkEntitlements([
      { end_user_id: user, feature_key: "api_calls", units: -1 },
      { end_user_id: user, feature_key: "api_calls" },
    ]);
    assert.deepEqual(
      checks.map(({ allowed, reason }) => [allowed, reason]),
      [
        [false, "invalid_units"],
        [true, null],
      ],
    );
  });

  test("all features of a user", async () => {
    const listed = await quotastack.listEntitlements(await subscribed());
    assert.equal(listed.features.seats?.limit, 3);
    assert.equal(listed.balance, CREDITS);
  });

  test("names are passed on as they are, whatever is in them", async () => {
    const user = `ü/ ?&#%2e ${newUser()}`;
    await quotastack.createCustomer(user);
    assert.equal((await quotastack.customer(user)).end_user_id, user);
    assert.equal((await quotastack.checkEntitlement(user, "api_calls")).reason, "insufficient_credits");
    await assert.rejects(quotastack.customer(".."), TypeError);
  });
});

describe("without an answer", () => {
  test("closed refuses, open allows, for each feature as was said", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const guarded = client({ edgeUrl: proxy.url, featureFailModes: { api_calls: "open" } });
    const user = await subscribed();
    await proxy.down();
    const [open, closed] = await guarded.checkEntitlements([
      { end_user_id: user, feature_key: "api_calls" },
      { end_user_id: user, feature_key: "reports" },
    ]);
    assert.deepEqual([open?.allowed, open?.reason, open?.balance, open?.source], [true, null, null, "fallback"]);
    assert.deepEqual([closed?.allowed, closed?.reason, closed?.source], [false, "unavailable", "fallback"]);
    await proxy.up();
    assert.equal((await guarded.checkEntitlement(user, "reports")).source, "live");
  });

  test("cached says what was last said to the same question, for as long as it may", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const guarded = client({
      edgeUrl: proxy.url,
      failMode: cached(60_000),
      featureFailModes: { reports: cached(1, "open") },
    });
    const user = await subscribed();
    const live = await guarded.checkEntitlement(user, "api_calls", { units: 2, properties: { a: 1, b: 2 } });
    await guarded.checkEntitlement(user, "reports");
    await proxy.down();
    const same = await guarded.checkEntitlement(user, "api_calls", { units: 2, properties: { b: 2, a: 1 } });
    assert.deepEqual(same, { ...live, source: "cache" });
    const another = await guarded.checkEntitlement(user, "api_calls", { units: 3 });
    assert.deepEqual([another.allowed, another.source], [false, "fallback"]);
    const stale = await guarded.checkEntitlement(user, "reports");
    assert.deepEqual([stale.allowed, stale.source], [true, "fallback"]);
  });

  test("a server that hangs is asked twice, each time as long as one waits for a check", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const guarded = client({ edgeUrl: proxy.url, checkTimeout: 1_000, failMode: "open" });
    proxy.turns.push("hang", "hang", "hang");
    assert.equal((await guarded.checkEntitlement("anybody", "api_calls")).source, "fallback");
    assert.equal(proxy.seen.length, 2);
  });

  test("a 503 that passes is not seen", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    proxy.turns.push({ status: 503, body: { code: "account_loading", detail: "Try again." } });
    const check = await client({ edgeUrl: proxy.url }).checkEntitlement(await subscribed(), "api_calls");
    assert.deepEqual([check.allowed, check.source], [true, "live"]);
  });

  test("nobody waits longer for a Retry-After than for an answer", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const guarded = client({ edgeUrl: proxy.url, checkTimeout: 1_000, failMode: "open" });
    proxy.turns.push({ status: 503, headers: { "Retry-After": "2" } });
    assert.equal((await guarded.checkEntitlement("anybody", "api_calls")).source, "fallback");
    assert.equal(proxy.seen.length, 1);
  });

  test("one of many that nobody could decide on yet is answered by the fail mode", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const undecided = { allowed: null, code: "backlog", detail: "Later." };
    proxy.turns.push({ status: 200, body: { results: [undecided] } });
    const question = { end_user_id: "anybody", feature_key: "api_calls" };
    const [check] = await client({ edgeUrl: proxy.url, failMode: "open" }).checkEntitlements([question]);
    assert.deepEqual([check?.allowed, check?.source], [true, "fallback"]);
  });

  test("a refusal is an answer: no fail mode hides it", async (context) => {
    const proxy = await Obstacle.before(URL_OF_EDGE);
    context.after(() => proxy.down());
    const open = client({ edgeUrl: proxy.url, failMode: "open" });
    await assert.rejects(open.checkEntitlement("anybody", "api_calls", { units: -1 }), ValidationError);
    const limited = { status: 429, headers: { "Retry-After": "60" }, body: { code: "too_many_requests" } };
    proxy.turns.push(limited);
    await assert.rejects(open.checkEntitlement("anybody", "api_calls"), RateLimitedError);
    const stranger = client({ apiKey: "qs_test_nobody", failMode: "open" });
    await assert.rejects(stranger.checkEntitlement("anybody", "api_calls"), AuthenticationError);
  });
});

describe("the client", () => {
  test("without an edge's address, core answers", async () => {
    const onCore = client({ url: URL_OF_CORE });
    assert.equal((await onCore.checkEntitlement(await subscribed(), "api_calls")).allowed, true);
  });

  test("shows its key to nobody", async () => {
    const { inspect } = await import("node:util");
    const secret = client({ apiKey: "qs_test_verysecret", url: "http://127.0.0.1:9", attempts: 1 });
    const error = await refusal(secret.credits("somebody"));
    const shown = [secret, error].flatMap((each) => [
      inspect(each, { depth: 9, showHidden: true }),
      JSON.stringify(each),
    ]);
    for (const text of [...shown, error.stack ?? "", String(error)]) assert.doesNotMatch(text, /verysecret/);
    assert.throws(() => client({ apiKey: "verysecret\n" }), /^TypeError: `apiKey` has characters/);
  });

  test("options that cannot be used are refused at once", () => {
    for (const options of [
      { apiKey: "" },
      { url: "localhost:8000" },
      { url: "http://user:word@localhost" },
      { attempts: 0 },
      { timeout: Number.NaN },
      { failMode: "ajar" as "open" },
      { spool: "var/spool" as never },
    ]) {
      assert.throws(() => client(options), TypeError, JSON.stringify(options));
    }
  });
});
