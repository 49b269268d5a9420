/** Customers, subscriptions, payments, gauges, and everything else of the API. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { AuthenticationError, ConflictError, LimitReachedError, NotFoundError, ValidationError } from "quotastack";
import { Obstacle } from "./support/proxy.js";
import {
  CREDITS,
  client,
  LARGER_VARIANT,
  newUser,
  refusal,
  subscribed,
  URL_OF_CORE,
  URL_OF_EDGE,
  VARIANT,
} from "./support/shop.js";

const quotastack = client();

describe("a subscription", () => {
  test("from its beginning to its end", async () => {
    const user = newUser();
    const made = await quotastack.subscribe(user, { plan_variant_id: VARIANT, reason: "a test" });
    const id = made.subscription_id;
    assert.equal((await quotastack.subscription(id)).state, "active");
    assert.deepEqual(
      (await quotastack.subscriptions(user)).map(({ subscription_id }) => subscription_id),
      [id],
    );
    assert.equal((await quotastack.pauseSubscription(id)).state, "paused");
    assert.equal((await quotastack.resumeSubscription(id, { reason: "they are back" })).state, "active");
    const refused = await refusal(quotastack.previewChange(id, { plan_variant_id: VARIANT }));
    assert.equal(refused.context.why, "same_terms");
    await assert.rejects(quotastack.changeSubscription(id, { plan_variant_id: VARIANT }), ConflictError);
    const preview = await quotastack.previewChange(id, { plan_variant_id: LARGER_VARIANT });
    assert(
      preview.credits_granted > CREDITS - 1 && preview.credits_granted <= CREDITS,
      "twice as much for what is left",
    );
    const changed = await quotastack.changeSubscription(id, { plan_variant_id: LARGER_VARIANT });
    assert.equal(changed.plan_variant_id, LARGER_VARIANT);
    assert.equal((await quotastack.cancelSubscription(id)).scheduled?.action, "cancel");
    await assert.rejects(quotastack.renewSubscription(id, { payment_reference: randomUUID() }), ConflictError);
  });

  test("whose answer is lost is made once", async (context) => {
    const proxy = await Obstacle.before(URL_OF_CORE);
    context.after(() => proxy.down());
    const user = newUser();
    proxy.turns.push("lose the answer");
    await client({ url: proxy.url, edgeUrl: URL_OF_EDGE }).subscribe(user, { plan_variant_id: VARIANT });
    assert.equal(new Set(proxy.seen.map(({ key }) => key)).size, 1);
    assert.match(proxy.seen[0]?.key ?? "", /^[\da-f-]{36}$/);
    assert.equal((await quotastack.subscriptions(user)).length, 1);
  });

  test("a key of one's own goes along, and not into the body", async () => {
    const [user, idempotency_key] = [newUser(), randomUUID()];
    const terms = { plan_variant_id: VARIANT, idempotency_key };
    assert.deepEqual(await quotastack.subscribe(user, terms), await quotastack.subscribe(user, terms));
  });
});

describe("a customer", () => {
  test("everything of one at once", async () => {
    const user = await subscribed();
    const state = await quotastack.customerState(user);
    assert.equal(state.customer.end_user_id, user);
    assert.equal(state.credits.balance, CREDITS);
    assert.equal(state.entitlements.balance, CREDITS);
    assert.equal(state.subscriptions.length, 1);
  });

  test("who pays gets credit, once for a payment", async () => {
    const [user, payment_reference] = [newUser(), randomUUID()];
    await quotastack.createCustomer(user);
    const topup = await quotastack.topUp(user, { package_key: "burst", payment_reference });
    assert.deepEqual(await quotastack.topUp(user, { package_key: "burst", payment_reference }), topup);
    assert.equal((await quotastack.credits(user)).balance, 1_000);
    const other = quotastack.topUp(user, { credits: 1, price_paid: 1, currency: "EUR", payment_reference });
    await assert.rejects(other, { code: "payment_reference_used" });
  });

  test("who is unknown is not found", async () => {
    await assert.rejects(quotastack.customer(newUser()), NotFoundError);
  });
});

test("seats are held and given back", async () => {
  const user = await subscribed();
  for (const holder of ["ann", "bob", "cid"]) await quotastack.acquireGauge(user, "seats", holder, { ttl_seconds: 60 });
  await assert.rejects(quotastack.acquireGauge(user, "seats", "dan"), LimitReachedError);
  assert.deepEqual(await quotastack.releaseGauge(user, "seats", "ann"), { released: true, used: 2, limit: 3 });
  assert.equal((await quotastack.acquireGauge(user, "seats", "dan")).used, 3);
});

describe("anything else of the API", () => {
  test("is asked with the same retries, keys and errors", async (context) => {
    const proxy = await Obstacle.before(URL_OF_CORE);
    context.after(() => proxy.down());
    const watched = client({ url: proxy.url });
    const user = await subscribed();
    proxy.turns.push({ status: 503 }, "lose the answer");
    const body = { end_user_id: user, amount: 10, source: "promo" };
    await watched.request("POST", "/v1/credits/grants", { body });
    assert.equal(new Set(proxy.seen.map(({ key }) => key)).size, 1);
    assert.equal((await quotastack.credits(user)).balance, CREDITS + 10);
    const page = await watched.request<{ data: unknown[] }>("GET", "/v1/customers", {
      query: { limit: 1, cursor: null },
    });
    assert.equal(page.data.length, 1);
    await assert.rejects(watched.request("POST", "/v1/plans", { body: { key: "x", nmae: "X" } }), (error) => {
      assert(error instanceof ValidationError);
      assert.equal(error.errors.length > 0, true);
      return true;
    });
    await assert.rejects(watched.request("GET", "/v1/tenants"), (error) => error instanceof ValidationError);
    for (const elsewhere of ["@127.0.0.1/v1/plans", "v1/plans", ".example.com/", "", "//v1/plans"]) {
      await assert.rejects(watched.request("GET", elsewhere), TypeError, elsewhere);
    }
  });

  test("a page of some proxy is an error with its status, and so is a way to elsewhere", async (context) => {
    const proxy = await Obstacle.before(URL_OF_CORE);
    context.after(() => proxy.down());
    const watched = client({ url: proxy.url });
    const page = { status: 200, headers: { "Content-Type": "text/html" }, body: "<html>Be right back</html>" };
    proxy.turns.push({ status: 302, headers: { Location: "http://127.0.0.1:9/" } });
    await assert.rejects(watched.customer("anybody"), { code: "unexpected_answer", status: 302 });
    assert.equal(proxy.seen.length, 1);
    proxy.turns.push(page, page, page, page);
    await assert.rejects(watched.customer("anybody"), { code: "unexpected_answer", status: 200 });
    assert.equal(proxy.seen.length, 5, "somebody else stands where the API will be again");
  });

  test("without a valid key nothing is answered", async () => {
    const stranger = client({ apiKey: "qs_test_nobody" });
    await assert.rejects(stranger.credits("anybody"), AuthenticationError);
    await assert.rejects(stranger.recordUsage("anybody", { feature_key: "api_calls" }), AuthenticationError);
  });
});
