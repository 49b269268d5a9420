/** One file of the spool: a line for each event, and lines that say which of them are done. Lines are only ever added. */

import { constants } from "node:fs";
import { type FileHandle, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { basename, join } from "node:path";
import type { KeptEvent } from "../spool.js";
import { isMissing } from "./lock.js";

/** From this size on a file gets no more events. */
export const SEGMENT_BYTES = 1024 * 1024;

/** Where an event stands. */
export interface Position {
  segment: Segment;
  /** Which line of events it is in its file. */
  index: number;
  offset: number;
  length: number;
}

/** A file of the spool. */
export class Segment {
  /** Events in it that wait. */
  waiting = 0;
  /** Its size. */
  bytes = 0;
  #path: string;
  #handle: FileHandle | null = null;
  #events = 0;
  #isDamaged = false;
  #isTorn = false;

  constructor(path: string) {
    this.#path = path;
  }

  /** Its name sorts by when it was begun. */
  get name(): string {
    return basename(this.#path);
  }

  /** Whether it takes events. */
  get isOpen(): boolean {
    return this.#handle !== null && !this.#isTorn && this.bytes < SEGMENT_BYTES;
  }

  /** A file that is new. */
  static async create(path: string): Promise<Segment> {
    const segment = new Segment(path);
    segment.#handle = await open(path, "ax", 0o600);
    return segment;
  }

  /** A file that is there, and where its events that wait stand in it. */
  static async read(path: string): Promise<{ segment: Segment; positions: Position[] }> {
    const segment = new Segment(path);
    const bytes = await readFile(path);
    const done = new Set<number>();
    const positions: Position[] = [];
    let offset = 0;
    for (let end = bytes.indexOf(0x0a); end !== -1; end = bytes.indexOf(0x0a, offset)) {
      const line = end === offset ? { done: [] } : parse(bytes.toString("utf8", offset, end));
      if (line === null) segment.#isDamaged = true;
      else if ("done" in line) for (const index of line.done) done.add(index);
      else positions.push({ segment, index: segment.#events++, offset, length: end - offset });
      offset = end + 1;
    }
    // What has no end was being written in a crash: nobody was told that it is kept.
    segment.bytes = bytes.length;
    const waiting = positions.filter(({ index }) => !done.has(index));
    segment.waiting = waiting.length;
    return { segment, positions: waiting };
  }

  /**
   * Write events to the disk: all of them or none. null: somebody took this process for dead, and the file over; who sees
   * these events in it, and whether anybody does, nobody knows.
   */
  async append(lines: readonly Buffer[]): Promise<Position[] | null> {
    const handle = this.#handle;
    if (handle === null) throw new Error(`${this.#path} takes no events.`);
    await this.#write(handle, Buffer.concat(lines));
    // Only now: whoever takes the file from here on reads what was just written.
    if (!(await isAt(handle, this.#path))) return null;
    return lines.map((line) => {
      const position = { segment: this, index: this.#events, offset: this.bytes, length: line.length - 1 };
      this.#events += 1;
      this.bytes += line.length;
      this.waiting += 1;
      return position;
    });
  }

  /** Read events that stand here, in order. */
  async load(positions: readonly Position[]): Promise<KeptEvent[]> {
    const bytes = await readFile(this.#path);
    return positions.map(({ offset, length }) => JSON.parse(bytes.toString("utf8", offset, offset + length)));
  }

  /** Note which are done. Where a crash forgets that they are sent again, under their keys. */
  async finish(indices: readonly number[]): Promise<void> {
    const line = Buffer.from(`${this.#isTorn ? "\n" : ""}${JSON.stringify({ done: indices })}\n`);
    const handle = await open(this.#path, constants.O_WRONLY | constants.O_APPEND);
    try {
      await this.#write(handle, line);
    } finally {
      await handle.close();
    }
    this.bytes += line.length;
    this.waiting -= indices.length;
  }

  /** All of it or nothing: what of it is there when the disk is full is taken back. */
  async #write(handle: FileHandle, bytes: Buffer): Promise<void> {
    const wasTorn = this.#isTorn;
    this.#isTorn = true;
    try {
      await handle.appendFile(bytes);
      await handle.datasync();
    } catch (error) {
      if (wasTorn) throw error;
      await handle.truncate(this.bytes).catch((cause) => {
        throw new Error(`${this.#path} cannot be written. Perhaps this usage is kept all the same.`, { cause });
      });
      this.#isTorn = false;
      throw error;
    }
    this.#isTorn = wasTorn;
  }

  /** Take no more events. */
  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = null;
  }

  /** Take the file away: all of it is done. What could not be read is kept in `beside`, for people. */
  async remove(beside: string): Promise<void> {
    await this.close();
    if (!this.#isDamaged) return unlink(this.#path);
    const kept = join(beside, `${this.name}.damaged`);
    console.warn(`quotastack: ${kept} has lines that cannot be read. All others were sent.`);
    return rename(this.#path, kept);
  }
}

/** Whether an open file is still where it was opened. */
async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  try {
    const [here, there] = await Promise.all([handle.stat({ bigint: true }), stat(path, { bigint: true })]);
    return here.ino === there.ino;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function parse(text: string): KeptEvent | { done: number[] } | null {
  try {
    const line = JSON.parse(text);
    return typeof line?.event === "object" || Array.isArray(line?.done) ? line : null;
  } catch {
    return null; // damage: counted where it is found
  }
}
