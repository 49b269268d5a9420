/** Cases that all SDKs share: sdks/vectors. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  QuotaStack,
  QuotaStackError,
  type TokenFeatures,
  tokenUsage,
  usageEvents,
  verifyWebhook,
  WebhookVerificationError,
} from "quotastack";
import { nextWait, PASSING_CODES, readRetryAfter } from "../dist/esm/backoff.js";
import { checkPace } from "../dist/esm/checks.js";
import { readCheckSettings, readTarget } from "../dist/esm/settings.js";

function cases<Case>(name: string): Case[] {
  return JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8"));
}

interface RetryCase {
  name: string;
  status: number | null;
  code: string | null;
  retries: number;
  retry_after: string | null;
  check: boolean;
  again: boolean;
  least_seconds: number | null;
  most_seconds: number | null;
}

const target = readTarget({ apiKey: "qs_test_nobody", url: "http://127.0.0.1:9" });
const ofChecks = checkPace(readCheckSettings({}));

describe("what follows an answer", () => {
  for (const each of cases<RetryCase>("retries")) {
    test(each.name, () => {
      const failure = { status: each.status, code: each.code, retryAfter: readRetryAfter(each.retry_after, 0) };
      const policy = each.check ? ofChecks : target;
      const waits = [0, 0.5, 1].map((chance) => nextWait(failure, each.retries, policy, chance));
      if (!each.again) return assert.deepEqual(waits, [null, null, null]);
      assert.equal(waits[0], (each.least_seconds ?? 0) * 1000);
      assert.equal(waits[2], (each.most_seconds ?? 0) * 1000);
    });
  }

  test("of one among many: passing codes are those of all SDKs, and codes of the API", () => {
    assert.deepEqual([...PASSING_CODES].sort(), cases<string>("passing_codes").sort());
    const document = readFileSync(new URL("../../openapi.json", import.meta.url), "utf8");
    const codes: string[] = JSON.parse(document).components.schemas.Code.enum;
    assert.deepEqual(
      [...PASSING_CODES].filter((code) => !codes.includes(code)),
      [],
    );
  });

  test("a check is not tried more often than anything else, unless that is said", () => {
    assert.equal(checkPace(readCheckSettings({ attempts: 1 })).attempts, 1);
    assert.equal(checkPace(readCheckSettings({ attempts: 9 })).attempts, 2);
    assert.equal(checkPace(readCheckSettings({ attempts: 1, checkAttempts: 3 })).attempts, 3);
  });

  test("a check does not wait for a Retry-After beyond its timeout", () => {
    const failure = (retryAfter: number) => ({ status: 503, code: null, retryAfter });
    assert.deepEqual([nextWait(failure(2), 0, ofChecks, 0), nextWait(failure(3), 0, ofChecks, 0)], [2_000, null]);
  });

  test("a Retry-After may be a date, and one that has passed is none to wait for", () => {
    const now = Date.parse("2026-11-27T10:00:00Z");
    assert.equal(readRetryAfter("Fri, 27 Nov 2026 10:00:07 GMT", now), 7);
    assert.equal(readRetryAfter("Fri, 27 Nov 2026 09:00:00 GMT", now), 0);
  });

  test("pauses double up to five seconds", () => {
    const failure = { status: null, code: null, retryAfter: null };
    const waits = [0, 1, 5, 6, 40].map((retries) => nextWait(failure, retries, { attempts: 99, maxWait: 0 }, 1));
    assert.deepEqual(waits, [100, 200, 3_200, 5_000, 5_000]);
  });
});

interface TokenCase {
  name: string;
  usage: object;
  pools: ReturnType<typeof tokenUsage> | null;
}

interface EventsCase {
  name: string;
  pools: ReturnType<typeof tokenUsage>;
  features: TokenFeatures;
  events: [string, number][] | null;
}

describe("pools of tokens", () => {
  for (const each of cases<TokenCase>("token_usage")) {
    test(each.name, () => {
      if (each.pools === null) assert.throws(() => tokenUsage(each.usage), TypeError);
      else assert.deepEqual(tokenUsage(each.usage), each.pools);
    });
  }

  for (const { name, pools, features, events } of cases<EventsCase>("token_events")) {
    test(name, () => {
      if (events === null) return assert.throws(() => usageEvents(pools, { features }, "call-1"), /no pool/);
      const expected = events.map(([feature_key, units]) => ({ feature_key, units, idempotency_key: "call-1" }));
      assert.deepEqual(usageEvents(pools, { features }, "call-1"), expected);
    });
  }
});

interface AnswerCase {
  name: string;
  status: number;
  body: string;
  error: string;
  code: string;
}

describe("what is heard of an answer", () => {
  for (const { name, status, body, error, code } of cases<AnswerCase>("answers")) {
    test(name, async () => {
      const fetch = async () => new Response(body, { status });
      const quotastack = new QuotaStack({ apiKey: "qs_test_nobody", url: "http://127.0.0.1:9", fetch, attempts: 1 });
      const heard = await quotastack.customer("ada").catch((reason: unknown) => reason);
      assert(heard instanceof QuotaStackError);
      assert.deepEqual([heard.name, heard.code, heard.status], [error, code, status]);
    });
  }
});

interface WebhookCase {
  name: string;
  secrets: string[];
  headers: Record<string, string>;
  body: string;
  now: number;
  valid: boolean;
}

describe("webhooks", () => {
  for (const each of cases<WebhookCase>("webhooks")) {
    test(each.name, async () => {
      const now = new Date(each.now * 1000);
      const verified = verifyWebhook(each.body, each.headers, each.secrets, { now });
      if (!each.valid) return assert.rejects(verified, WebhookVerificationError);
      assert.deepEqual(await verified, JSON.parse(each.body));
      return undefined;
    });
  }

  test("a secret that is none verifies nothing, not even what is signed with it", async () => {
    const [id, time] = ["msg_1", "1764240000"];
    const signature = createHmac("sha256", "").update(`${id}.${time}.{}`).digest("base64");
    const headers = { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": `v1,${signature}` };
    for (const secret of ["", "whsec_"]) {
      await assert.rejects(verifyWebhook("{}", headers, secret, { now: new Date(Number(time) * 1000) }), TypeError);
    }
  });

  test("bodies may be bytes, and headers those of fetch", async () => {
    const good = cases<WebhookCase>("webhooks").find(({ valid }) => valid);
    assert(good);
    const bytes = new TextEncoder().encode(good.body);
    const now = new Date(good.now * 1000);
    for (const body of [bytes, bytes.buffer, Buffer.from(bytes)]) {
      const event = await verifyWebhook(body, new Headers(good.headers), good.secrets, { now });
      assert.equal(event.type, "credits.low");
    }
  });
});
