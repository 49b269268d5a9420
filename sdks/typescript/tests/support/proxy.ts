/** Stands between client and server on a socket of its own, and does to requests what networks and servers do. */

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What happens to one request. */
export type Turn =
  | "pass"
  /** It arrives, and its answer is lost. */
  | "lose the answer"
  /** It never arrives. */
  | "refuse"
  /** Nobody ever answers. */
  | "hang"
  /** An answer of the proxy's own. */
  | { status: number; headers?: Record<string, string>; body?: unknown };

/** A request as it came by. */
export interface Seen {
  method: string;
  path: string;
  body: Record<string, unknown>;
  key: string | undefined;
  at: number;
}

/** A proxy in front of one address. */
export class Obstacle {
  /** Everything that came, in order. */
  readonly seen: Seen[] = [];
  /** What happens to the next requests, one each; then they pass. */
  readonly turns: Turn[] = [];
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #port = 0;

  constructor(target: string) {
    this.#target = new URL(target);
  }

  /** A proxy that listens. */
  static async before(target: string): Promise<Obstacle> {
    const proxy = new Obstacle(target);
    await proxy.up();
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listen, at the same address as ever. */
  async up(): Promise<void> {
    const server = createServer((incoming, outgoing) => void this.#take(incoming, outgoing));
    server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    await new Promise<void>((listening) => server.listen(this.#port, "127.0.0.1", listening));
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Be away: connections end, and new ones are refused. */
  async down(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #take(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece);
    const body = Buffer.concat(pieces);
    this.seen.push({
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      body: body.length ? JSON.parse(body.toString()) : {},
      key: incoming.headers["idempotency-key"]?.toString(),
      at: performance.now(),
    });
    const turn = this.turns.shift() ?? "pass";
    if (turn === "hang") return;
    if (turn === "refuse") incoming.socket.destroy();
    else if (typeof turn === "object") answer(outgoing, turn);
    else this.#pass(incoming, body, outgoing, turn === "pass");
  }

  #pass(incoming: IncomingMessage, body: Buffer, outgoing: ServerResponse, isAnswered: boolean): void {
    const { hostname, port } = this.#target;
    const options = { hostname, port, method: incoming.method, path: incoming.url, headers: incoming.headers };
    const forwarded = request(options, (response) => {
      if (isAnswered) {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(outgoing);
      } else {
        response.resume().on("end", () => outgoing.socket?.destroy());
      }
    });
    forwarded.on("error", () => outgoing.socket?.destroy());
    forwarded.end(body);
  }
}

function answer(outgoing: ServerResponse, turn: { status: number; headers?: Record<string, string>; body?: unknown }) {
  outgoing.writeHead(turn.status, { "Content-Type": "application/problem+json", ...turn.headers });
  outgoing.end(typeof turn.body === "string" ? turn.body : JSON.stringify(turn.body ?? {}));
}
