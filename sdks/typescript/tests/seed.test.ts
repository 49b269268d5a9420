/** The integration that the product's page shows, as it is printed there. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { client, newUser, VARIANT } from "./support/shop.js";

const quotastack = client();

async function generateResponse(prompt: string): Promise<string> {
  return `You said: ${prompt}`;
}

async function answer(prompt: string, requestId: string) {
  // biome-ignore format: as it is printed
  {
// Check entitlement before each request
const { allowed, balance } = await quotastack
  .checkEntitlement("user_123", "ai_request")

if (!allowed) {
  return { error: "upgrade_required" }
}

// Process the request...
const result = await generateResponse(prompt)

// Record usage — credits deducted async
await quotastack.recordUsage("user_123", {
  feature_key: "ai_request",
  units: 1,
  idempotency_key: requestId
})
    return { result, balance };
  }
}

test("without a plan the page's code asks for an upgrade; with one it answers and charges once", async () => {
  // The page's user is everybody's: whoever runs this twice on one stack finds it subscribed.
  const known = await quotastack.checkEntitlement("user_123", "ai_request");
  if (known.reason === "unknown_customer") {
    assert.deepEqual(await answer("hello", randomUUID()), { error: "upgrade_required" });
    await quotastack.subscribe("user_123", { plan_variant_id: VARIANT });
  }
  const { balance } = await quotastack.checkEntitlement("user_123", "ai_request");
  const requestId = randomUUID();
  assert.deepEqual(await answer("hello", requestId), { result: "You said: hello", balance });
  await answer("hello", requestId);
  const after = await quotastack.checkEntitlement("user_123", "ai_request");
  assert.equal(after.balance, (balance ?? 0) - 1);
});

test("somebody who is unknown is not allowed, and that is no error", async () => {
  const check = await quotastack.checkEntitlement(newUser(), "ai_request");
  assert.deepEqual([check.allowed, check.reason, check.source], [false, "unknown_customer", "live"]);
});
