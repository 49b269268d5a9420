/** The spool on disk: what was acknowledged survives the process. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type KeptEvent, SpoolFullError } from "quotastack";
import { FileSpool } from "quotastack/node";
import { client, newUser, spent, subscribed, waitUntil } from "./support/shop.js";

const NOWHERE = "http://127.0.0.1:9";
let directory = "";

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spool-"));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

function events(count: number, user = "somebody", note = ""): KeptEvent[] {
  return Array.from({ length: count }, (_, index) => ({
    event: { end_user_id: user, feature_key: "api_calls", idempotency_key: `${user}-${index}`, properties: { note } },
    at: new Date().toISOString(),
  }));
}

async function opened(options = {}): Promise<FileSpool> {
  const spool = new FileSpool(directory, options);
  await spool.open("test", () => {});
  return spool;
}

function users(waiting: readonly KeptEvent[]): string[] {
  return waiting.map(({ event }) => event.end_user_id);
}

/** As if the process of these spools had died. */
async function die(): Promise<void> {
  for (const lock of await files("/lock")) await rm(lock);
}

async function files(ending: string): Promise<string[]> {
  const found = await readdir(directory, { recursive: true });
  return found.filter((name) => name.endsWith(ending)).map((name) => join(directory, name));
}

/** Start the recording program; each key that it acknowledged is added to `acknowledged`. */
function recording(user: string, acknowledged: string[]): ChildProcess {
  const program = fileURLToPath(new URL("./support/recording.js", import.meta.url));
  const child = spawn(process.execPath, [program, NOWHERE, directory, user], { stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: child.stdout }).on("line", (key) => acknowledged.push(key));
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.on("close", resolve));
  child.kill("SIGKILL");
  await gone;
}

describe("a process that is killed", () => {
  test("leaves every event that it acknowledged to the next, which charges each once", async () => {
    const [user, acknowledged] = [await subscribed(), [] as string[]];
    const child = recording(user, acknowledged);
    await waitUntil(() => acknowledged.length >= 20, "twenty events");
    await killed(child);
    const successor = client({ spool: new FileSpool(directory) });
    await waitUntil(async () => (await spent(user)) >= acknowledged.length, "what was left to be charged");
    assert.deepEqual(await successor.close(), { waiting: 0, error: null });
    // One more may be on the disk than was acknowledged: that one was being written.
    const extra = (await spent(user)) - acknowledged.length;
    assert(extra === 0 || extra === 1, `${extra} too many`);
    assert.deepEqual(await files(".jsonl"), []);
  });

  test("keeps what is its own for as long as it lives", async () => {
    const acknowledged: string[] = [];
    const child = recording(newUser(), acknowledged);
    await waitUntil(() => acknowledged.length >= 1, "an event");
    const early = await opened();
    assert.equal(early.size, 0);
    await early.close();
    await killed(child);
    const late = await opened();
    assert(late.size >= acknowledged.length);
    await late.close();
  });
});

describe("the spool on disk", () => {
  test("gives back what was appended, in order, whoever appended at once, and forgets what is removed", async () => {
    const spool = await opened();
    const all = events(30);
    await Promise.all(all.map((event) => spool.append([event])));
    const first = await spool.peek(10);
    assert.deepEqual(
      first.map(({ event }) => event.idempotency_key),
      all.slice(0, 10).map(({ event }) => event.idempotency_key),
    );
    await spool.remove(first.map(({ place }) => place));
    assert.equal(spool.size, 20);
    assert.equal((await spool.peek(1))[0]?.event.idempotency_key, "somebody-10");
    await spool.close();
  });

  test("what was done before a death is not found after it, nor what was half written", async () => {
    const spool = await opened();
    await spool.append(events(3));
    const [first] = await spool.peek(1);
    await spool.remove([first?.place ?? -1]);
    await appendFile((await files(".jsonl"))[0] ?? "", '{"event": {"end_user_id": "cut');
    await die();
    const next = await opened();
    assert.deepEqual(
      (await next.peek(9)).map(({ event }) => event.idempotency_key),
      ["somebody-1", "somebody-2"],
    );
    await next.close();
  });

  test("a line that cannot be read loses only itself, and is kept for people", async () => {
    const spool = await opened();
    await spool.append(events(3));
    const [path = ""] = await files(".jsonl");
    const lines = (await readFile(path, "utf8")).split("\n");
    lines[1] = "damage";
    await writeFile(path, lines.join("\n"));
    await die();
    const next = await opened();
    const waiting = await next.peek(9);
    assert.deepEqual(
      waiting.map(({ event }) => event.idempotency_key),
      ["somebody-0", "somebody-2"],
    );
    await next.remove(waiting.map(({ place }) => place));
    assert.equal((await files(".jsonl")).length, 0);
    await next.close();
    assert.equal((await files(".damaged")).length, 1);
  });

  test("many files in turn, which go away as they are done", async () => {
    const spool = await opened();
    for (let turn = 0; turn < 5; turn += 1) await spool.append(events(100, `user ${turn}`, "x".repeat(11_000)));
    assert.equal((await files(".jsonl")).length, 5);
    const waiting = await spool.peek(250);
    await spool.remove(waiting.map(({ place }) => place));
    assert.equal((await files(".jsonl")).length, 3);
    await die();
    const next = await opened();
    assert.equal(next.size, 250);
    assert.equal((await next.peek(1))[0]?.event.end_user_id, "user 2");
    await next.close();
  });

  test("is full at its bound, also of what is being written, and takes events again once some are done", async () => {
    const spool = await opened({ maxBytes: 2_000 });
    const results = await Promise.allSettled(events(20).map((event) => spool.append([event])));
    const refused = results.filter(({ status }) => status === "rejected");
    assert(refused.length > 0 && refused.every((each) => "reason" in each && each.reason instanceof SpoolFullError));
    assert.equal(spool.size, 20 - refused.length);
    await spool.remove((await spool.peek(99)).map(({ place }) => place));
    await spool.append(events(1));
    await spool.close();
  });

  test("whoever was taken for dead goes on with a directory of its own, and sends nothing that another has", async () => {
    const spool = await opened();
    await spool.append(events(2));
    await die();
    const thief = await opened();
    assert.equal(thief.size, 2);
    await spool.append(events(1, "later"));
    await thief.remove((await thief.peek(9)).map(({ place }) => place));
    await thief.close();
    assert.deepEqual(users(await spool.peek(9)), ["later"]);
    await spool.append(events(1, "last"));
    await die();
    const next = await opened();
    assert.deepEqual(users(await next.peek(9)), ["later", "last"]);
    await next.close();
  });

  test("whoever was taken for dead, and whose directory is gone, goes on, too", async () => {
    const spool = await opened();
    await die();
    await (await opened()).close();
    await spool.append(events(1, "later"));
    assert.deepEqual(users(await spool.peek(9)), ["later"]);
    await spool.close();
    assert.equal((await opened()).size, 1);
  });

  test("keeps none of what a full disk took only the half of, and goes on where there is room", async () => {
    const program = fileURLToPath(new URL("./support/filling.js", import.meta.url));
    const limited = ["-c", 'ulimit -f 16 && exec "$@"', "sh", process.execPath, program, directory];
    const child = spawn("sh", limited, { stdio: ["ignore", "pipe", "inherit"] });
    const said: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) => said.push(line));
    await new Promise((resolve) => child.on("close", resolve));
    assert.deepEqual(said, ["kept", "EFBIG", "kept"]);
    const next = await opened();
    assert.deepEqual(users(await next.peek(99)), ["first", "last"]);
    await next.close();
  });

  test("what cannot be read now holds nothing else up, and is not taken away", async () => {
    const spool = await opened();
    await spool.append(events(1));
    const [path = ""] = await files(".jsonl");
    await mkdir(join(dirname(path), "0.jsonl")); // as good as a disk that says EIO
    await die();
    const next = await opened();
    assert.deepEqual(users(await next.peek(9)), ["somebody"]);
    await next.remove((await next.peek(9)).map(({ place }) => place));
    await next.close();
    assert.equal((await files("0.jsonl")).length, 1);
  });

  test("a client that closes with events that wait leaves them to the next", async () => {
    const user = await subscribed();
    const cut = client({ url: NOWHERE, attempts: 1, spool: new FileSpool(directory), onError: () => {} });
    await cut.recordUsage(user, { feature_key: "api_calls", units: 4 });
    assert.equal((await cut.close()).waiting, 1);
    await assert.rejects(cut.recordUsage(user, { feature_key: "api_calls" }), /closed/);
    const next = client({ spool: new FileSpool(directory) });
    assert.deepEqual(await next.close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 4);
  });

  test("what is kept in a sandbox never goes to a live environment", async () => {
    const user = await subscribed();
    const cut = { url: NOWHERE, attempts: 1, onError: () => {} };
    const sandbox = client({ ...cut, spool: new FileSpool(directory) });
    await sandbox.recordUsage(user, { feature_key: "api_calls" });
    await sandbox.close();
    const live = client({ ...cut, apiKey: "qs_live_nobody", spool: new FileSpool(directory) });
    assert.deepEqual(await live.close(), { waiting: 0, error: null });
    assert.deepEqual(await client({ spool: new FileSpool(directory) }).close(), { waiting: 0, error: null });
    assert.equal(await spent(user), 1);
  });

  test("what is refused is in rejected.jsonl", async () => {
    const stranger = newUser();
    const told: string[] = [];
    const cut = client({ url: NOWHERE, attempts: 1, spool: new FileSpool(directory), onError: () => {} });
    await cut.recordUsage(stranger, { feature_key: "api_calls" });
    await cut.close();
    const next = client({ spool: new FileSpool(directory), onRejected: ({ code }) => told.push(code) });
    assert.deepEqual(await next.close(), { waiting: 0, error: null });
    const lines = (await readFile(join(directory, "test/rejected.jsonl"), "utf8")).trimEnd().split("\n");
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).event.end_user_id),
      [stranger],
    );
    assert.deepEqual(told, ["unknown_customer"]);
  });
});
