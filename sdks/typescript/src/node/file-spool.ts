/** Usage that could not be delivered, on the disk. */

import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import {
  checkRoom,
  DEFAULT_MAX_BYTES,
  type KeptEvent,
  type RejectedEvent,
  type Spool,
  type WaitingEvent,
} from "../spool.js";
import { giveUp, isAbandoned, isMissing, SIGN_OF_LIFE_MS, showLife, sign } from "./lock.js";
import { type Position, Segment } from "./segment.js";

/** Options of a spool on disk. */
export interface FileSpoolOptions {
  /** Bytes that may wait: 64 MiB. */
  maxBytes?: number;
}

interface Pending {
  lines: Buffer[];
  done: () => void;
  failed: (error: unknown) => void;
}

const EVENTS = ".jsonl";
const PROCESS = ".spool";
const REJECTED = "rejected.jsonl";
/** How often others may take this process for dead while it writes. */
const MOST_TAKEOVERS = 5;

/**
 * Keeps usage in files under `path`: each event is on the disk before `recordUsage` returns, and goes out once the API is
 * reached, after a restart too. Processes share a path: each has a directory of its own there, and takes over those whose
 * process is dead. Sandbox and live are kept apart; clients of different tenants take different paths, and so do machines.
 */
export class FileSpool implements Spool {
  readonly isDurable = true;
  readonly #path: string;
  #root: string;
  #own = "";
  readonly #maxBytes: number;
  readonly #waiting = new Map<number, Position>();
  readonly #segments = new Set<Segment>();
  /** Files that were taken over, and not read yet. */
  readonly #unread = new Set<string>();
  #current: Segment | null = null;
  #next = 0;
  #reserved = 0;
  #pending: Pending[] = [];
  #work: Promise<unknown> = Promise.resolve();
  #heart: ReturnType<typeof setInterval> | undefined;

  constructor(path: string, options: FileSpoolOptions = {}) {
    this.#path = this.#root = resolve(path);
    this.#maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Sign a directory, take over those of the dead, and look for more of them from time to time. */
  async open(kind: string, onFound: () => void): Promise<void> {
    this.#root = join(this.#path, kind);
    await this.#settle();
    await this.#beat(() => undefined);
    this.#heart = setInterval(() => void this.#beat(onFound), SIGN_OF_LIFE_MS);
    this.#heart.unref();
  }

  /** Keep events; they are on the disk once this returns. Throws SpoolFullError. */
  async append(events: readonly KeptEvent[]): Promise<void> {
    const lines = events.map((kept) => Buffer.from(`${JSON.stringify(kept)}\n`));
    const added = lines.reduce((sum, line) => sum + line.length, 0);
    checkRoom(this.#bytes() + this.#reserved + added, this.#maxBytes);
    this.#reserved += added;
    try {
      await new Promise<void>((done, failed) => {
        this.#pending.push({ lines, done, failed });
        void this.#alone(() => this.#writePending());
      });
    } finally {
      this.#reserved -= added;
    }
  }

  /** The first ones. */
  async peek(most: number): Promise<WaitingEvent[]> {
    const first = [...take(this.#waiting, most)];
    const events: WaitingEvent[] = [];
    for (const segment of new Set(first.map(([, position]) => position.segment))) {
      const here = first.filter(([, position]) => position.segment === segment);
      try {
        const kept = await segment.load(here.map(([, position]) => position));
        events.push(...kept.map((each, index) => ({ ...each, place: here[index]?.[0] ?? -1 })));
      } catch (error) {
        if (!isMissing(error)) throw error;
        this.#forget(segment);
      }
    }
    return events.sort((one, other) => one.place - other.place);
  }

  /** Forget these; a file of which nothing waits is taken away. */
  async remove(places: readonly number[]): Promise<void> {
    const done = new Map<Segment, number[]>();
    for (const place of places) {
      const position = this.#waiting.get(place);
      if (position === undefined) continue;
      this.#waiting.delete(place);
      const indices = done.get(position.segment);
      if (indices === undefined) done.set(position.segment, [position.index]);
      else indices.push(position.index);
    }
    await this.#alone(async () => {
      for (const [segment, indices] of done) await this.#finish(segment, indices);
    });
  }

  /** Add to `rejected.jsonl`. Once that is as large as the spool may be, it makes way for a new one, and is kept once. */
  async reject(events: readonly RejectedEvent[]): Promise<void> {
    const path = join(this.#root, REJECTED);
    const size = await stat(path).then(
      (found) => found.size,
      (error) => (isMissing(error) ? 0 : Promise.reject(error)),
    );
    if (size > this.#maxBytes) await rename(path, `${path}.1`);
    const handle = await open(path, "a", 0o600);
    try {
      await handle.appendFile(events.map((each) => `${JSON.stringify(each)}\n`).join(""));
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }

  /** Give the directory up; what waits in it is for whoever opens the spool next. */
  async close(): Promise<void> {
    clearInterval(this.#heart);
    await this.#alone(async () => {
      for (const segment of this.#segments) {
        if (segment.waiting === 0) await this.#drop(segment);
        else await segment.close();
      }
      await giveUp(this.#own);
      // Not empty: what waits there is for whoever opens the spool next.
      await rmdir(this.#own).catch(() => undefined);
    });
  }

  #bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.bytes;
    return bytes;
  }

  #alone<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.#work.then(work);
    this.#work = turn.catch(() => undefined); // whoever asked for it hears of it, and not who comes next
    return turn;
  }

  // ---- writing

  /** Everything that came meanwhile goes to the disk at once. */
  async #writePending(): Promise<void> {
    const pending = this.#pending.splice(0);
    if (pending.length === 0) return;
    try {
      await this.#write(pending.flatMap(({ lines }) => lines));
      for (const { done } of pending) done();
    } catch (error) {
      await this.#current?.close().catch(() => undefined);
      this.#current = null;
      for (const { failed } of pending) failed(error);
    }
  }

  async #write(lines: readonly Buffer[]): Promise<void> {
    for (let tries = 0; tries < MOST_TAKEOVERS; tries += 1) {
      const positions = await this.#tryToWrite(lines);
      if (positions !== null) return this.#place(positions);
      await this.#settle();
    }
    throw new Error(`${this.#root}: others take this process for dead again and again. Perhaps this usage is kept.`);
  }

  /** null: somebody took this process for dead, and its directory over. The same events are written elsewhere, under their keys. */
  async #tryToWrite(lines: readonly Buffer[]): Promise<Position[] | null> {
    try {
      const segment = await this.#writable();
      const positions = await segment.append(lines);
      if (positions === null) {
        await segment.close();
        this.#forget(segment);
      }
      return positions;
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#current = null; // it has no directory any more
      return null;
    }
  }

  async #writable(): Promise<Segment> {
    if (this.#current?.isOpen) return this.#current;
    await this.#current?.close();
    const begun = String(Date.now()).padStart(15, "0");
    this.#current = await Segment.create(join(this.#own, `${begun}-${randomUUID()}${EVENTS}`));
    this.#segments.add(this.#current);
    await syncDirectory(this.#own);
    return this.#current;
  }

  #place(positions: readonly Position[]): void {
    for (const position of positions) {
      this.#waiting.set(this.#next, position);
      this.#next += 1;
    }
  }

  async #finish(segment: Segment, indices: readonly number[]): Promise<void> {
    try {
      await segment.finish(indices);
      if (segment.waiting === 0) await this.#drop(segment);
    } catch (error) {
      if (!isMissing(error)) throw error;
      this.#forget(segment);
    }
  }

  /** Whoever took this process for dead has the file, and sends what is in it. */
  #forget(segment: Segment): void {
    if (segment === this.#current) this.#current = null;
    this.#segments.delete(segment);
    for (const [place, position] of this.#waiting) if (position.segment === segment) this.#waiting.delete(place);
  }

  async #drop(segment: Segment): Promise<void> {
    if (segment === this.#current) this.#current = null;
    this.#segments.delete(segment);
    await segment.remove(this.#root).catch((error) => {
      if (!isMissing(error)) throw error; // whoever has it takes it away
    });
  }

  // ---- taking over

  /** Sign a new directory. It gets its name once it is signed: what has such a name and no lock is abandoned. */
  async #settle(): Promise<void> {
    const own = join(this.#root, `${randomUUID()}${PROCESS}`);
    await mkdir(`${own}.new`, { recursive: true, mode: 0o700 });
    await sign(`${own}.new`);
    await rename(`${own}.new`, own);
    await syncDirectory(this.#root);
    await syncDirectory(dirname(this.#root));
    this.#own = own;
  }

  async #beat(onFound: () => void): Promise<void> {
    try {
      const hasFound = await this.#alone(async () => {
        if (!(await showLife(this.#own))) await this.#settle();
        return this.#adopt();
      });
      if (hasFound) onFound();
    } catch (error) {
      console.warn("quotastack: the spool's directory cannot be looked after:", error);
    }
  }

  /** Whether anything was found. Two may try at once: a file moves to one of them. */
  async #adopt(): Promise<boolean> {
    for (const name of await readdir(this.#root)) {
      const directory = join(this.#root, name);
      if (!name.endsWith(PROCESS) || directory === this.#own || !(await isAbandoned(directory))) continue;
      for (const file of await readdir(directory).catch(() => [])) {
        const moved = join(this.#own, file);
        if (file.endsWith(EVENTS) && (await move(join(directory, file), moved))) this.#unread.add(moved);
      }
      await syncDirectory(this.#own);
      await giveUp(directory);
      // Not empty: somebody else is at it.
      await rmdir(directory).catch(() => undefined);
    }
    return this.#readAdopted();
  }

  /** Whether anything was read. What cannot be read now, for want of file handles, is tried again at the next sign of life. */
  async #readAdopted(): Promise<boolean> {
    const before = this.#waiting.size;
    for (const path of [...this.#unread].sort((one, other) => (basename(one) < basename(other) ? -1 : 1))) {
      const found = await Segment.read(path).catch((error) => {
        if (isMissing(error))
          this.#unread.delete(path); // taken over from us in turn
        else console.warn(`quotastack: ${path} cannot be read, and is tried again:`, error);
        return null;
      });
      if (found === null) continue;
      this.#unread.delete(path);
      this.#segments.add(found.segment);
      this.#place(found.positions);
      if (found.segment.waiting === 0) await this.#drop(found.segment);
    }
    return this.#waiting.size > before;
  }
}

function* take<Key, Value>(map: Map<Key, Value>, most: number): Generator<[Key, Value]> {
  let taken = 0;
  for (const entry of map) {
    if (taken === most) return;
    taken += 1;
    yield entry;
  }
}

async function move(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isMissing(error)) return false; // somebody else has it
    throw error;
  }
}

/** A name in a directory is on the disk once the directory is. Windows has no such call, and needs none. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
