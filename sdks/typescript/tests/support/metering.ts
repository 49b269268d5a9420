/**
 * A program that records usage of one unit until its input ends, for a test that ends servers meanwhile: `metering.js <user>`.
 *
 * It prints how many events were recorded, and how many of them still wait.
 */

import { QuotaStack } from "quotastack";

const [user = ""] = process.argv.slice(2);
const quotastack = new QuotaStack({ timeout: 2_000, attempts: 2, drainInterval: 100, maxDrainInterval: 500 });
let isOver = false;
process.stdin.on("end", () => {
  isOver = true;
});
process.stdin.resume();

let count = 0;
while (!isOver) {
  await quotastack.recordUsage(user, { feature_key: "api_calls" });
  count += 1;
  if (count === 20) process.stdout.write("under way\n");
  await new Promise((resolve) => setTimeout(resolve, 5));
}
for (let tries = 0; (await quotastack.flush()).waiting > 0 && tries < 100; tries += 1) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
const { waiting } = await quotastack.close();
process.stdout.write(`${JSON.stringify({ count, waiting })}\n`);
