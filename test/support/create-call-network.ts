import { VaultError } from "../../src/errors.ts";
import type { Caller, CallerOptions } from "../../src/rpc/caller.ts";
import type { CallContext, HandlerTable, WireBytes } from "../../src/rpc/handlers.ts";

/** Nodes that call each other's handlers without a network, and what can go wrong between them. */
export interface CallNetwork {
  readonly caller: Caller;
  /** The paths of the calls that arrived, with the endpoint before them. */
  readonly calls: string[];
  /** What answers at an endpoint; undefined: connections are refused. */
  serve(endpoint: string, handlers: HandlerTable | undefined): void;
  /** Breaks all calls to an endpoint that are under way. */
  cut(endpoint: string): void;
  /** Answers to calls that are under way, and new ones, do not arrive until `thaw`; requests do. */
  freeze(endpoint: string): void;
  thaw(endpoint: string): void;
}

interface Peer {
  handlers: HandlerTable | undefined;
  broken: AbortController;
  frozen: PromiseWithResolvers<void> | undefined;
}

/** Makes a network without nodes. */
export function createCallNetwork(): CallNetwork {
  const peers = new Map<string, Peer>();
  const calls: string[] = [];

  function peerAt(endpoint: string): Peer {
    const peer = peers.get(endpoint) ?? { handlers: undefined, broken: new AbortController(), frozen: undefined };
    peers.set(endpoint, peer);
    return peer;
  }

  function find<K extends "unary" | "serverStream" | "duplex">(endpoint: string, path: string, kind: K) {
    const { handlers } = peerAt(endpoint);
    if (handlers === undefined) throw new VaultError("unavailable", `no connection to ${endpoint}: ECONNREFUSED`);
    calls.push(`${endpoint} ${path}`);
    const handler = handlers[path];
    if (handler?.kind !== kind) throw new VaultError("invalid", `${endpoint} has no method ${path}`);
    return handler as Extract<HandlerTable[string], { kind: K }>;
  }

  function enter(endpoint: string, options: CallerOptions): { context: CallContext; signal: AbortSignal } {
    const signal = AbortSignal.any([options.signal, peerAt(endpoint).broken.signal]);
    const metadata = { get: (name: string) => options.metadata?.[name] };
    return {
      signal,
      context: { signal, deadlineMs: options.deadlineMs, peer: "test", metadata, sendMetadata: () => undefined },
    };
  }

  async function* relay(
    endpoint: string,
    responses: AsyncIterable<WireBytes>,
    signal: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const iterator = responses[Symbol.asyncIterator]();
    try {
      for (;;) {
        const next = await unlessBroken(iterator.next(), endpoint, signal);
        await unlessBroken(peerAt(endpoint).frozen?.promise ?? Promise.resolve(), endpoint, signal);
        if (next.done === true) return;
        yield toBuffer(next.value);
      }
    } finally {
      void iterator.return?.()?.catch(() => undefined);
    }
  }

  const caller: Caller = {
    async unary(endpoint, path, request, options) {
      const handler = find(endpoint, path, "unary");
      const { context, signal } = enter(endpoint, options);
      const answer = await unlessBroken(handler.handle(Buffer.from(request), context), endpoint, signal);
      await unlessBroken(peerAt(endpoint).frozen?.promise ?? Promise.resolve(), endpoint, signal);
      return Buffer.from(answer);
    },
    async *serverStream(endpoint, path, request, options) {
      const handler = find(endpoint, path, "serverStream");
      const { context, signal } = enter(endpoint, options);
      yield* relay(endpoint, handler.handle(Buffer.from(request), context), signal);
    },
    async *duplex(endpoint, path, requests, options) {
      const handler = find(endpoint, path, "duplex");
      const { context, signal } = enter(endpoint, options);
      yield* relay(endpoint, handler.handle(asBuffers(requests), context), signal);
    },
    close: () => undefined,
  };

  return {
    caller,
    calls,
    serve(endpoint, handlers) {
      peerAt(endpoint).handlers = handlers;
    },
    cut(endpoint) {
      const peer = peerAt(endpoint);
      const { broken } = peer;
      peer.broken = new AbortController();
      broken.abort();
    },
    freeze(endpoint) {
      peerAt(endpoint).frozen ??= Promise.withResolvers();
    },
    thaw(endpoint) {
      const peer = peerAt(endpoint);
      peer.frozen?.resolve();
      peer.frozen = undefined;
    },
  };
}

/** As a link that breaks under a call does: nobody knows what became of it. */
function unlessBroken<T>(step: Promise<T>, endpoint: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new VaultError("indeterminate", `the link to ${endpoint} broke`));
    signal.addEventListener("abort", onAbort, { once: true });
    step.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
    if (signal.aborted) onAbort();
  });
}

async function* asBuffers(requests: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const request of requests) yield Buffer.from(request);
}

function toBuffer(bytes: WireBytes): Buffer {
  const copy = Buffer.alloc(bytes.byteLength);
  bytes.copy(copy, 0);
  return copy;
}
