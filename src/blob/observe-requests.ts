import { AsyncLocalStorage } from "node:async_hooks";
import type { Clock } from "../clock.ts";
import { isKind, VaultError } from "../errors.ts";
import type { Histogram, Telemetry } from "../telemetry.ts";
import type { BlobStore } from "./blob-store.ts";

/** What is asked of storage: an operation of the port, or what opening a container takes. */
export type StorageOperation =
  | Exclude<keyof BlobStore, "description" | "close" | "turn">
  | "accountInfo"
  | "createContainer";

/** One request to storage: one attempt of an operation. */
export interface StorageRequest {
  readonly operation: StorageOperation;
  /** The blob, or the prefix of a listing. */
  readonly name: string;
  /** From 1, where the read was not sent again above. */
  readonly attempt: number;
}

/**
 * Whoever sends a read again above where its requests are told of says so here: then they are told of as further attempts.
 */
export interface Repeats {
  /** How often the read that is under way was sent before. */
  readonly before: number;
  /** Sends a read that was sent `before` times already. */
  again<T>(before: number, send: () => Promise<T>): Promise<T>;
}

/** Makes it. Only what is sent again costs anything. */
export function createRepeats(): Repeats {
  const sent = new AsyncLocalStorage<number>();
  return {
    get before() {
      return sent.getStore() ?? 0;
    },
    again: (before, send) => sent.run(before, send),
  };
}

/** Sends a request, and tells how it went. */
export type ObserveRequest = <T>(request: StorageRequest, send: () => Promise<T>) => Promise<T>;

/** Makes a teller of requests; undefined where telemetry is off. What `send` rejects with is to be a VaultError. */
export function createRequestObserver(
  clock: Clock,
  telemetry: Telemetry,
  repeats?: Pick<Repeats, "before">,
): ObserveRequest | undefined {
  if (!telemetry.metering && !telemetry.tracing) return undefined;
  const durations = new Map<string, Histogram>();
  const durationOf = (operation: StorageOperation, error: string | undefined) => {
    const key = `${operation} ${error}`;
    const known = durations.get(key);
    if (known !== undefined) return known;
    const values = {
      "messagevault.storage.operation": operation,
      ...(error === undefined ? {} : { "error.type": error }),
    };
    const made = telemetry.histogram("messagevault.storage.request.duration", values);
    durations.set(key, made);
    return made;
  };
  const count = (name: "retries" | "throttles", operation: StorageOperation) => {
    telemetry.counter(`messagevault.storage.${name}`, { "messagevault.storage.operation": operation }).add(1);
  };
  return async (request, send) => {
    const { operation, name } = request;
    const attempt = request.attempt + (repeats?.before ?? 0);
    if (attempt > 1) count("retries", operation);
    const span = telemetry.active === undefined ? undefined : startSpan(telemetry, { operation, name, attempt });
    const startedAt = clock.monotonic();
    const tell = (error?: string) => durationOf(operation, error).record((clock.monotonic() - startedAt) / 1000);
    try {
      const answer = await send();
      tell();
      span?.end();
      return answer;
    } catch (error) {
      tell(error instanceof VaultError ? error.kind : "_OTHER");
      if (isKind(error, "overloaded")) count("throttles", operation);
      span?.end(error);
      throw error;
    }
  };
}

function startSpan(telemetry: Telemetry, { operation, name, attempt }: StorageRequest) {
  const attributes = {
    "messagevault.storage.operation": operation,
    "messagevault.blob.name": name,
    "messagevault.storage.attempt": attempt,
  };
  return telemetry.startSpan("storage", { subject: operation, attributes });
}

const operations = [
  "read",
  "writtenEnd",
  "get",
  "properties",
  "list",
  "listFolders",
  "createPages",
  "writePages",
  "clearPages",
  "raiseFence",
  "put",
  "remove",
  "createControl",
  "setMetadata",
  "acquireLease",
  "renewLease",
  "releaseLease",
  "breakLease",
] as const satisfies readonly (keyof BlobStore)[];

/** The same store, whose operations are told of, one request each. Where telemetry is off, the store itself. */
export function observeStore(
  store: BlobStore,
  clock: Clock,
  telemetry: Telemetry,
  repeats?: Pick<Repeats, "before">,
): BlobStore {
  const observe = createRequestObserver(clock, telemetry, repeats);
  if (observe === undefined) return store;
  const observed = operations.flatMap((operation) => {
    const run = store[operation]?.bind(store) as ((name: string, ...rest: unknown[]) => Promise<unknown>) | undefined;
    if (run === undefined) return [];
    const observedRun = (name: string, ...rest: unknown[]) =>
      observe({ operation, name, attempt: 1 }, () => run(name, ...rest));
    return [[operation, observedRun] as const];
  });
  return { ...store, close: () => store.close(), ...Object.fromEntries(observed) };
}
