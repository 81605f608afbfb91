/** A client of the simulation: calls nodes over the simulated network, and notes what it did and saw. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { sleep } from "../../src/clock.ts";
import type { VaultError } from "../../src/errors.ts";
import { methodPath } from "../../src/rpc/handlers.ts";
import type { HistoryOperation } from "./history.ts";
import type { Host } from "./host.ts";
import type { SimulatedCaller } from "./network.ts";
import type { Scheduler } from "./scheduler.ts";
import type { VaultSource } from "./source.ts";

/** What all clients share. */
export interface ClientWorld {
  readonly source: VaultSource;
  readonly scheduler: Scheduler;
  /** The nodes' addresses. */
  readonly endpoints: readonly string[];
  readonly history: HistoryOperation[];
  /** Aborted when clients shall come to an end. */
  readonly stopping: AbortSignal;
  /** Notes that something happened that must not. */
  violate(check: string, what: string): void;
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

/** One client. */
export interface Client extends ClientWorld {
  readonly name: string;
  readonly random: () => number;
  /** Milliseconds since the simulation began. */
  readonly now: number;
  /** The address that is called now. */
  readonly endpoint: string;
  /** Calls a unary method once. Rejects with a VaultError, and goes on at another node next time where that may help. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    timeoutMs?: number,
  ): Promise<MessageShape<O>>;
  /** Calls a method that answers with a stream. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>>;
  /** Calls a method with streams both ways. */
  duplex<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    requests: AsyncIterable<MessageInitShape<I>>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>>;
  /** What a failure was, as a VaultError: anything else is a fault. */
  failure(error: unknown): VaultError;
  /** Waits, at most until clients shall end. */
  pause(delayMs: number): Promise<void>;
  /** Goes on at another node. */
  moveOn(): void;
}

const timeoutMsDefault = 10_000;

/** Makes a client on its own machine. */
export function createClient(
  world: ClientWorld,
  host: Host,
  caller: SimulatedCaller,
  random: () => number,
  /** Whether it goes to the leader directly where a node names it. */
  takesHints: boolean,
): Client {
  let at = Math.floor(random() * world.endpoints.length);
  let hint: string | undefined;

  const client: Client = {
    ...world,
    name: host.name,
    random,
    get now() {
      return world.scheduler.now;
    },
    get endpoint() {
      return hint ?? world.endpoints[at]!;
    },
    async call(method, request, timeoutMs = timeoutMsDefault) {
      const signal = new AbortController().signal;
      const onMetadata = (values: Readonly<Record<string, string>>) => {
        const leader = values["messagevault-leader"];
        if (takesHints && leader !== undefined) hint = leader;
      };
      try {
        const bytes = toBinary(method.input, create(method.input, request));
        const options = { signal, deadlineMs: timeoutMs, onMetadata };
        return fromBinary(method.output, await caller.unary(client.endpoint, methodPath(method), bytes, options));
      } catch (error) {
        if (world.source.errors.isKind(error, "unavailable", "indeterminate")) client.moveOn();
        throw error;
      }
    },
    async *stream(method, request, signal) {
      const bytes = toBinary(method.input, create(method.input, request));
      const responses = caller.serverStream(client.endpoint, methodPath(method), bytes, { signal });
      for await (const response of responses) yield fromBinary(method.output, response);
    },
    async *duplex(method, requests, signal) {
      const encoded = encodeAll(method.input, requests);
      const responses = caller.duplex(client.endpoint, methodPath(method), encoded, { signal });
      for await (const response of responses) yield fromBinary(method.output, response);
    },
    failure(error) {
      if (error instanceof world.source.errors.VaultError) {
        if (error.kind === "corrupt") world.violate("data loss", `${host.name}: ${error.message}`);
        if (error.kind === "invalid") world.violate("invalid", `${host.name}: ${error.message}`);
        return error;
      }
      world.violate("fault", `${host.name}: ${error instanceof Error ? error.stack : String(error)}`);
      return new world.source.errors.VaultError("indeterminate", "a fault of the simulation");
    },
    pause: (delayMs) => sleep(host.clock, delayMs, world.stopping),
    moveOn() {
      hint = undefined;
      at = (at + 1) % world.endpoints.length;
    },
  };
  return client;
}

async function* encodeAll<I extends DescMessage>(
  schema: I,
  requests: AsyncIterable<MessageInitShape<I>>,
): AsyncGenerator<Uint8Array> {
  for await (const request of requests) yield toBinary(schema, create(schema, request));
}
