import http from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { FenceWitness } from "./create-fence-witness.ts";
import type { Scope } from "./create-scope.ts";
import { createRequestTally } from "./request-tally.ts";
import type { RequestTally } from "./request-tally.ts";

/**
 * How the network between a node and storage is.
 *
 * - `open`: everything passes.
 * - `cut`: connections are reset before anything is passed on.
 * - `held`: requests get no answer. They are passed on as they were when it is open again: late.
 * - `deaf`: requests are passed on and carried out, and their connections reset instead of answered.
 */
export type StorageLinkState = "open" | "cut" | "held" | "deaf";

/** The network between one node and Azurite. */
export interface StorageLink {
  /** Where the node finds its storage: http://127.0.0.1:PORT. */
  readonly endpoint: string;
  /** How many requests came so far. */
  readonly requestCount: number;
  /** The requests since `begin` was called last. */
  readonly tally: RequestTally;
  /** How many writes are held now. */
  readonly heldWriteCount: number;
  set(state: StorageLinkState): void;
  /** Another process begins to use it: its requests are counted anew. */
  begin(): void;
}

/** What a storage link needs. */
export interface StorageLinkOptions {
  /** http://HOST:PORT of Azurite. */
  readonly target: string;
  readonly witness: FenceWitness;
  readonly random: () => number;
  /** How many of a hundred writes are passed on once more, up to `repeatDelayMs` after they were answered. */
  readonly repeatPercent: number;
}

const repeatDelayMs = 2000;

/** Makes a network to `target`, until `scope` ends. */
export async function createStorageLink(scope: Scope, options: StorageLinkOptions): Promise<StorageLink> {
  const { random, repeatPercent } = options;
  const agent = new http.Agent({ keepAlive: true });
  const sockets = new Set<Socket>();
  const held: (() => void)[] = [];
  const repeats = new Set<NodeJS.Timeout>();
  const link: { state: StorageLinkState; requestCount: number; heldWriteCount: number; tally: RequestTally } = {
    state: "open",
    requestCount: 0,
    heldWriteCount: 0,
    tally: createRequestTally(),
  };

  async function handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    link.requestCount++;
    response.once("close", link.tally.count(request));
    if (isCut()) return void request.socket.resetAndDestroy();
    const body = await collect(request);
    // A node that was killed may have sent half of it.
    if (!request.complete) return;
    await untilReleased(isWrite(request));
    const answer = await forward(options, agent, request, body);
    if (isWrite(request) && random() * 100 < repeatPercent) repeatLater(request, body);
    if (link.state === "deaf" || isCut()) {
      answer.resume();
      return void request.socket.resetAndDestroy();
    }
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    await pipeline(answer, response);
  }

  const isCut = () => link.state === "cut";

  async function untilReleased(write: boolean): Promise<void> {
    if (link.state !== "held") return;
    link.heldWriteCount += Number(write);
    await new Promise<void>((resolve) => void held.push(resolve));
    link.heldWriteCount -= Number(write);
  }

  function repeatLater(request: http.IncomingMessage, body: Body): void {
    const timer = setTimeout(() => {
      repeats.delete(timer);
      forward(options, agent, request, body).then(
        (answer) => answer.resume(),
        () => undefined,
      );
    }, random() * repeatDelayMs);
    repeats.add(timer);
  }

  const server = http.createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  scope.teardown(() => {
    for (const timer of repeats) clearTimeout(timer);
    server.close();
    server.closeAllConnections();
    agent.destroy();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get requestCount() {
      return link.requestCount;
    },
    get tally() {
      return link.tally;
    },
    get heldWriteCount() {
      return link.heldWriteCount;
    },
    set(next) {
      link.state = next;
      if (next === "cut") for (const socket of sockets) socket.resetAndDestroy();
      if (next !== "held") for (const release of held.splice(0)) release();
    },
    begin() {
      link.tally = createRequestTally();
    },
  };
}

// A lease that is taken again after it was given back would be held by nobody: that costs time, and shows nothing.
function isWrite({ method, url = "" }: http.IncomingMessage): boolean {
  return method === "PUT" && !url.includes("comp=lease");
}

// In pieces, as they came: putting them together would cost more than passing them on.
type Body = readonly Buffer[];

async function collect(request: http.IncomingMessage): Promise<Body> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return pieces;
}

/** Resolves as soon as the answer begins. */
function forward(
  { target, witness }: StorageLinkOptions,
  agent: http.Agent,
  request: http.IncomingMessage,
  body: Body,
): Promise<http.IncomingMessage> {
  const { hostname, port } = new URL(target);
  const { method = "GET", url = "/", headers } = request;
  const witnessed = witness.see({ method, url, headers });
  return new Promise((resolve, reject) => {
    const onward = http.request({ hostname, port, method, path: url, headers, agent }, (answer) => {
      witnessed(answer.statusCode ?? 0, answer.headers);
      resolve(answer);
    });
    onward.on("error", reject);
    onward.setNoDelay(true);
    for (const piece of body) onward.write(piece);
    onward.end();
  });
}
