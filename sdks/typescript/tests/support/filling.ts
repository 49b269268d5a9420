/** A program whose files may not be large, for a test of a full disk: `filling.js <directory>`. It prints what each append came to. */

import type { KeptEvent } from "quotastack";
import { FileSpool } from "quotastack/node";

const [directory = ""] = process.argv.slice(2);
const spool = new FileSpool(directory);
await spool.open("test", () => {});

function events(count: number, user: string): KeptEvent[] {
  const note = "x".repeat(900);
  return Array.from({ length: count }, (_, index) => ({
    event: { end_user_id: user, feature_key: "api_calls", idempotency_key: `${user}-${index}`, properties: { note } },
    at: new Date().toISOString(),
  }));
}

for (const [count, user] of [
  [1, "first"],
  [100, "too many"],
  [1, "last"],
] as const) {
  const outcome = await spool.append(events(count, user)).then(
    () => "kept",
    (error) => error.code,
  );
  process.stdout.write(`${outcome}\n`);
}
process.exit(); // as if it had died: nothing is given up
