/**
 * Whether this node can serve everything: it is started and not stopping, storage answers it, and a leader is known.
 *
 * However many ask, storage is asked by one request at a time, and its answer counts for a while.
 */
import type { BlobReader } from "./blob/blob-store.ts";
import type { Clock } from "./clock.ts";
import { VaultError } from "./errors.ts";
import { controlName } from "./leader/control.ts";

/** What readiness is judged by. */
export interface ReadinessSources {
  readonly store: Pick<BlobReader, "properties">;
  readonly clock: Clock;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMsMax: number;
  /** Whether reads are served: the node is started and not stopping. */
  readonly serving: () => boolean;
  /** Whether it is known who leads. */
  readonly leaderKnown: () => boolean;
}

/** How long what storage answered counts, in milliseconds. */
const answerAgeMsMax = 1000;

/** Makes the judge: it resolves to why the node is not ready, in words without secrets; undefined where it is. */
export function createReadiness(sources: ReadinessSources): () => Promise<string | undefined> {
  const { clock, storageMsMax, serving, leaderKnown } = sources;
  let asking: Promise<string | undefined> = Promise.resolve(undefined);
  // In the future while a request is under way.
  let askedAt = -Infinity;
  const askStorage = () => {
    if (clock.monotonic() - askedAt < answerAgeMsMax) return asking;
    askedAt = Infinity;
    asking = describeStorage(sources.store).finally(() => (askedAt = clock.monotonic()));
    return asking;
  };
  return async () => {
    if (!serving()) return "this node is starting or stopping";
    if (!leaderKnown()) return "no leader is known";
    const { promise: late, resolve } = Promise.withResolvers<string>();
    const timer = clock.timer(storageMsMax, () => resolve(`storage did not answer within ${storageMsMax} ms`));
    return Promise.race([askStorage(), late]).finally(() => timer.cancel());
  };
}

async function describeStorage(store: ReadinessSources["store"]): Promise<string | undefined> {
  try {
    await store.properties(controlName);
    return undefined;
  } catch (error) {
    // Not its message: whoever asks may be anybody.
    return `storage cannot be used (${error instanceof VaultError ? error.kind : "it failed"})`;
  }
}
