/** Calls between processes over simulated links: the port through which the vault's nodes and its clients call nodes. */
import type { Caller, CallerOptions } from "../../src/rpc/caller.ts";
import type { Probe } from "../../src/leader/probe.ts";
import type { Host } from "./host.ts";
import { type Connection, type Links, machineOf } from "./links.ts";
import { createMailbox } from "./mailbox.ts";
import { passedOnBy, type RpcServer, windowMessages } from "./rpc-server.ts";
import type { VaultSource } from "./source.ts";

/** Where processes listen, and how they call each other. */
export interface Network {
  /** A process takes calls at `endpoint` (MACHINE:PORT) from now on. Returns a function that ends that. */
  listen(endpoint: string, host: Host, server: RpcServer): () => void;
  /** The way of a process to others. `connectTimeoutMs`: how long a connection may take. */
  caller(host: Host, connectTimeoutMs: number): SimulatedCaller;
  /** A look whether a process listens at an endpoint, as the kernel of its machine says. */
  probe(host: Host, timeoutMs: number): Probe;
}

/** A caller that tells what was sent along with the answer, too. */
export interface SimulatedCaller extends Caller {
  unary(endpoint: string, path: string, request: Uint8Array, options: SimulatedOptions): Promise<Buffer>;
}

/** Options with a place for what comes along with the answer. */
export interface SimulatedOptions extends CallerOptions {
  readonly onMetadata?: ((values: Readonly<Record<string, string>>) => void) | undefined;
}

interface Listener {
  readonly host: Host;
  readonly server: RpcServer;
}

/** A call as its caller sees it. */
interface OpenCall {
  send(bytes: Uint8Array): void;
  halfClose(): void;
  cancel(reason: unknown): void;
  responses(): AsyncGenerator<Buffer>;
  /** Resolves when one more request may be sent, or the call has ended. */
  room(): Promise<void>;
  readonly ended: boolean;
}

/** Makes the network of a simulation. */
export function createNetwork(
  source: VaultSource,
  links: Links,
  violate: (check: string, what: string) => void,
): Network {
  const { VaultError } = source.errors;
  const { fromStatus } = source.fromStatus;
  const listeners = new Map<string, Listener>();

  /** What a machine says to one who wants to connect: undefined where nothing comes back. */
  function knock(host: Host, endpoint: string): Listener | "refused" | undefined {
    const machine = endpoint.replace(/:.*$/, "");
    const mine = machineOf(host);
    if (links.isCut(mine, machine) || links.isCut(machine, mine)) return undefined;
    const listener = listeners.get(endpoint);
    return listener === undefined || !listener.host.alive ? "refused" : listener;
  }

  function wait(host: Host, delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = host.clock.timer(delayMs, done);
      signal.addEventListener("abort", done, { once: true });
    });
  }

  async function connect(
    host: Host,
    endpoint: string,
    timeoutMs: number,
    signal: AbortSignal,
    pool: Map<string, Link>,
  ): Promise<Link> {
    const failed = (why: string) =>
      new VaultError("unavailable", `no connection to ${endpoint}: ${why}`, { resource: endpoint });
    const known = pool.get(endpoint);
    if (known !== undefined && !known.connection.broken) return known;
    const until = host.clock.monotonic() + timeoutMs;
    while (!signal.aborted && host.clock.monotonic() < until) {
      await wait(host, 2 * links.latencyMs(), signal);
      const answer = knock(host, endpoint);
      if (answer === "refused") throw failed("ECONNREFUSED");
      if (answer !== undefined && !answer.host.frozen) {
        const link = { connection: links.connect(host, answer.host), server: answer.server, host: answer.host };
        pool.set(endpoint, link);
        return link;
      }
      await wait(host, 100, signal);
    }
    throw failed(signal.aborted ? "the call was given up" : "it does not answer");
  }

  function open(caller: Host, link: Link, path: string, options: SimulatedOptions): OpenCall {
    const { connection, server } = link;
    const { signal, deadlineMs, metadata = {} } = options;
    const inbox = createMailbox<Buffer>();
    const state = { ended: false, room: windowMessages, wake: () => {} };
    let remote: ReturnType<RpcServer["accept"]> | undefined;

    const finish = (error?: unknown) => {
      if (state.ended) return;
      state.ended = true;
      timer?.cancel();
      forget();
      signal.removeEventListener("abort", onAbort);
      inbox.end(error);
      state.wake();
    };
    const cancel = (reason: unknown) => {
      if (state.ended) return;
      connection.send("caller", () => remote?.cancel());
      finish(reason);
    };
    const onAbort = () => cancel(new VaultError("indeterminate", "the call was cancelled", { resource: path }));
    const late = () => cancel(new VaultError("indeterminate", "the deadline has passed", { resource: path }));
    const timer = deadlineMs === undefined ? undefined : caller.clock.timer(deadlineMs, late);
    const forget = connection.onBreak("caller", () => {
      finish(new VaultError("indeterminate", "the connection broke", { resource: path }));
    });
    signal.addEventListener("abort", onAbort, { once: true });
    if (metadata["messagevault-forwarded-by"] !== undefined && passedOnBy.getStore() !== undefined) {
      violate("one hop", `${caller.name} passes ${path} on, which was passed on to it`);
    }

    connection.send("caller", () => {
      const toCaller = (run: () => void) => connection.send("server", () => void (state.ended || run()));
      const unwatch = connection.onBreak("server", () => remote?.cancel());
      remote = server.accept(
        { path, metadata, deadlineMs, peer: caller.name },
        {
          metadata: (values) => toCaller(() => options.onMetadata?.(values)),
          message: (bytes) => toCaller(() => inbox.push(bytes)),
          status: (status) => {
            toCaller(() => finish(status.code === 0 ? undefined : fromStatus(status)));
            unwatch();
          },
          taken: () =>
            toCaller(() => {
              state.room++;
              state.wake();
            }),
        },
      );
    });
    if (signal.aborted) onAbort();

    return {
      get ended() {
        return state.ended;
      },
      send(bytes) {
        state.room--;
        const copy = Buffer.from(bytes);
        connection.send("caller", () => remote?.request(copy));
      },
      halfClose: () => connection.send("caller", () => remote?.halfClose()),
      cancel,
      responses: () => inbox.values(() => connection.send("caller", () => remote?.credit())),
      async room() {
        while (state.room <= 0 && !state.ended) await new Promise<void>((resolve) => (state.wake = resolve));
      },
    };
  }

  async function* read(call: OpenCall): AsyncGenerator<Buffer> {
    try {
      yield* call.responses();
    } finally {
      call.cancel(undefined);
    }
  }

  /** Sends what `requests` yields, as there is room. */
  async function pump(call: OpenCall, requests: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const request of requests) {
        await call.room();
        if (call.ended) return;
        call.send(request);
        await call.room();
        if (call.ended) return;
      }
      call.halfClose();
    } catch (error) {
      call.cancel(error);
    }
  }

  return {
    listen(endpoint, host, server) {
      const listener = { host, server };
      listeners.set(endpoint, listener);
      return () => {
        if (listeners.get(endpoint) === listener) listeners.delete(endpoint);
      };
    },
    caller(host, connectTimeoutMs) {
      const pool = new Map<string, Link>();
      let closed = false;
      const dial = (endpoint: string, signal: AbortSignal) => {
        if (closed) throw new VaultError("unavailable", "this node shuts down");
        return connect(host, endpoint, connectTimeoutMs, signal, pool);
      };
      return {
        async unary(endpoint, path, request, options) {
          const call = open(host, await dial(endpoint, options.signal), path, options);
          call.send(request);
          call.halfClose();
          let response: Buffer | undefined;
          for await (const bytes of read(call)) response = bytes;
          if (response === undefined) throw new VaultError("indeterminate", `${endpoint} gave no answer`);
          return response;
        },
        async *serverStream(endpoint, path, request, options) {
          const call = open(host, await dial(endpoint, options.signal), path, options);
          call.send(request);
          call.halfClose();
          yield* read(call);
        },
        async *duplex(endpoint, path, requests, options) {
          const call = open(host, await dial(endpoint, options.signal), path, options);
          void pump(call, requests);
          yield* read(call);
        },
        close() {
          closed = true;
          for (const { connection } of pool.values()) connection.break("closed");
        },
      };
    },
    probe(host, timeoutMs) {
      return async (endpoint, signal) => {
        const until = host.clock.monotonic() + timeoutMs;
        while (!signal.aborted && host.clock.monotonic() < until) {
          await wait(host, 2 * links.latencyMs(), signal);
          const answer = knock(host, endpoint);
          if (answer !== undefined) return answer === "refused" ? "refused" : "alive";
          await wait(host, 100, signal);
        }
        return "silent";
      };
    },
  };
}

interface Link {
  readonly connection: Connection;
  readonly server: RpcServer;
  readonly host: Host;
}
