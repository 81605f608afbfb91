import { createServer, connect } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { ExecutionContext } from "ava";

/** A network between a client and a vault, that can fail. */
export interface TestProxy {
  /** Where clients connect to: `host:port`. */
  readonly endpoint: string;
  /** How many connections were made so far. */
  readonly connectionCount: number;
  /** Breaks all connections; new ones are accepted. */
  cut(): void;
  /** From now on nothing that the vault says arrives, though what clients say still does. `cut` ends it. */
  muffle(): void;
  /** Breaks all connections and refuses new ones, until `restore`. */
  refuse(): void;
  restore(): void;
}

/** Makes a proxy in front of `target` (`host:port`), for as long as `t`. */
export async function createProxy(t: ExecutionContext, target: string): Promise<TestProxy> {
  const [host = "", port = ""] = target.split(/:(?=\d+$)/);
  const sockets = new Set<Socket>();
  const state = { muffled: false, refusing: false, connectionCount: 0 };
  const server = createServer((client) => {
    if (state.refusing) {
      client.resetAndDestroy();
      return;
    }
    state.connectionCount++;
    const vault = connect(Number(port), host);
    for (const [from, to] of [
      [client, vault],
      [vault, client],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        if (from === client || !state.muffled) to.write(bytes);
      });
      from.on("error", () => undefined);
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const breakAll = () => {
    state.muffled = false;
    // A reset of a socket that is being shut down fails, and leaves it open for ever: the process then hangs as it exits.
    for (const socket of sockets) {
      if (socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
  };
  t.teardown(() => {
    server.close();
    breakAll();
  });
  return {
    endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connectionCount() {
      return state.connectionCount;
    },
    cut: breakAll,
    muffle() {
      state.muffled = true;
    },
    refuse() {
      state.refusing = true;
      breakAll();
    },
    restore() {
      state.refusing = false;
    },
  };
}
