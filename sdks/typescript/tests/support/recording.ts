/** A program that records usage for ever, for a test that kills it: `recording.js <url> <directory> <user>`. */

import { randomUUID } from "node:crypto";
import { QuotaStack } from "quotastack";
import { FileSpool } from "quotastack/node";

const [url = "", directory = "", user = ""] = process.argv.slice(2);
const quotastack = new QuotaStack({ url, attempts: 1, spool: new FileSpool(directory), onError: () => {} });

for (;;) {
  const idempotency_key = randomUUID();
  await quotastack.recordUsage(user, { feature_key: "api_calls", idempotency_key });
  process.stdout.write(`${idempotency_key}\n`);
}
