import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { connect, createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { Scope } from "./create-scope.ts";

/**
 * How the network to a node is.
 *
 * - `open`: everything passes.
 * - `held`: connections stay and can be made, but nothing passes between nodes until it is open again: what a cut cable
 *   looks like. Clients in this process are not touched: they go by the same address, but another way.
 * - `down`: connections are reset and refused: what a host looks like whose process is gone.
 */
export type LinkState = "open" | "held" | "down";

/** The network between a node and the other nodes. */
export interface NodeLink {
  /** What the node gives as its address: `host:port`. */
  readonly endpoint: string;
  set(state: LinkState): Promise<void>;
}

interface Connection {
  readonly near: Socket;
  far: Socket | undefined;
  /** Bytes go both ways. To join the sockets once more would send everything twice. */
  passing: boolean;
}

const clientDelayMs = 20;

/** The ports that connections of this process come from, until `scope` ends. */
export function watchOwnPorts(scope: Scope): ReadonlySet<number> {
  const ports = new Set<number>();
  function onSocket(message: unknown): void {
    const { socket } = message as { socket: Socket };
    socket.once("connect", () => {
      const port = socket.localPort!;
      ports.add(port);
      socket.once("close", () => ports.delete(port));
    });
  }
  subscribe("net.client.socket", onSocket);
  scope.teardown(() => void unsubscribe("net.client.socket", onSocket));
  return ports;
}

/**
 * Makes a network in front of `targetPort` that listens on `port`, until `scope` ends. It is `down` at first. Whoever
 * comes from a port in `clientPorts` is a client.
 */
export function createNodeLink(
  scope: Scope,
  port: number,
  targetPort: number,
  clientPorts: ReadonlySet<number>,
): NodeLink {
  const connections = new Set<Connection>();
  let state: LinkState = "down";
  let server: Server | undefined;

  function accept(near: Socket): void {
    const connection: Connection = { near, far: undefined, passing: false };
    connections.add(connection);
    watch(connection, near);
    if (state === "open") {
      pass(connection);
      return;
    }
    // A client in this process hears a little later that it is connected.
    setTimeout(() => {
      if (connections.has(connection) && isClient(connection)) pass(connection);
    }, clientDelayMs);
  }

  function isClient({ near }: Connection): boolean {
    return clientPorts.has(near.remotePort ?? 0);
  }

  function pass(connection: Connection): void {
    // What is piped twice arrives twice.
    if (connection.passing) return;
    connection.passing = true;
    const { near } = connection;
    if (connection.far === undefined) {
      connection.far = connect(targetPort, "127.0.0.1");
      watch(connection, connection.far);
    }
    near.pipe(connection.far);
    connection.far.pipe(near);
  }

  function watch(connection: Connection, socket: Socket): void {
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      connections.delete(connection);
      connection.near.destroy();
      connection.far?.destroy();
    });
  }

  function hold(connection: Connection): void {
    connection.passing = false;
    connection.near.unpipe().pause();
    connection.far?.unpipe().pause();
  }

  async function listen(): Promise<void> {
    const opened = createServer({ noDelay: true }, accept);
    server = opened;
    await new Promise<void>((resolve, reject) => {
      opened.once("error", reject);
      opened.listen(port, "127.0.0.1", resolve);
    });
  }

  // In one go, and before anybody can connect anew: who is reset here and looks again is refused.
  function takeDown(): void {
    server?.close();
    server = undefined;
    for (const { near, far } of connections) {
      near.resetAndDestroy();
      far?.destroy();
    }
    connections.clear();
  }

  scope.teardown(takeDown);
  return {
    endpoint: `127.0.0.1:${port}`,
    async set(next) {
      state = next;
      if (next === "down") takeDown();
      else if (server === undefined) await listen();
      for (const connection of connections) {
        if (next === "open") pass(connection);
        else if (!isClient(connection)) hold(connection);
      }
    },
  };
}
