/**
 * A store whose requests are paced (pacer.ts), and whose reads are sent again where storage throttles.
 *
 * Changes are sent once, as the port says: whoever asked for one that was refused asks again, and waits here until
 * storage wants to hear of the blob. What concerns the control blob is never held back, as the lease depends on it.
 */
import type { Clock } from "../clock.ts";
import { isKind } from "../errors.ts";
import type { BlobStore, Etag, Fence, PutCondition } from "./blob-store.ts";
import type { Repeats } from "./observe-requests.ts";
import type { PaceLimits } from "./pacer.ts";
import { createPacer } from "./pacer.ts";

/** What bounds the requests of a paced store. */
export interface PacedStoreSettings extends PaceLimits {
  /** How often a read is sent in all while storage throttles. */
  readonly readAttemptsMax: number;
}

/** Paces the requests to `store`. `repeats` is told of reads that are sent again. */
export function createPacedStore(
  store: BlobStore,
  clock: Clock,
  settings: PacedStoreSettings,
  repeats?: Pick<Repeats, "again">,
): BlobStore {
  const pacer = createPacer(clock, settings);

  async function send<T>(name: string, bytes: number, run: () => Promise<T>): Promise<T> {
    await pacer.admit(name, bytes);
    try {
      const result = await run();
      pacer.served(name);
      return result;
    } catch (error) {
      const { retryAfterMs } = isKind(error, "overloaded") ? error.detail : {};
      if (retryAfterMs === undefined) pacer.served(name);
      else pacer.throttled(name, retryAfterMs);
      throw error;
    }
  }

  async function repeatedly<T>(run: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await (attempt === 1 || repeats === undefined ? run() : repeats.again(attempt - 1, run));
      } catch (error) {
        if (attempt >= settings.readAttemptsMax || !isKind(error, "overloaded")) throw error;
      }
    }
  }

  const read = <T>(name: string, bytes: number, run: () => Promise<T>) => repeatedly(() => send(name, bytes, run));
  // A listing has no blob: all of them pause together.
  const listing = <T>(run: () => Promise<T>) => read("", 0, run);

  const { writtenEnd } = store;
  return {
    ...store,
    turn: (name: string) => pacer.turn(name),
    createPages: (name: string, sizeBytes: number, fence: Fence) =>
      send(name, 0, () => store.createPages(name, sizeBytes, fence)),
    writePages: (name: string, position: number, bytes: Uint8Array, ifMatch: Etag, fence: Fence) =>
      send(name, bytes.length, () => store.writePages(name, position, bytes, ifMatch, fence)),
    clearPages: (name: string, position: number, lengthBytes: number, ifMatch: Etag, fence: Fence) =>
      send(name, 0, () => store.clearPages(name, position, lengthBytes, ifMatch, fence)),
    raiseFence: (name: string, ifMatch: Etag, fence: Fence) =>
      send(name, 0, () => store.raiseFence(name, ifMatch, fence)),
    read: (name: string, position: number, lengthBytes: number) =>
      read(name, lengthBytes, () => store.read(name, position, lengthBytes)),
    ...(writtenEnd === undefined
      ? {}
      : {
          writtenEnd: (name: string, position: number, lengthBytes: number) =>
            read(name, 0, () => writtenEnd(name, position, lengthBytes)),
        }),
    // Block blobs have no limit of bytes a second but the account's.
    put: (name: string, bytes: Uint8Array, condition: PutCondition) =>
      send(name, 0, () => store.put(name, bytes, condition)),
    get: (name: string) => read(name, 0, () => store.get(name)),
    properties: (name: string) => read(name, 0, () => store.properties(name)),
    remove: (name: string, ifMatch?: Etag) => send(name, 0, () => store.remove(name, ifMatch)),
    list: (prefix: string, limit: number, from?: string) => listing(() => store.list(prefix, limit, from)),
    listFolders: (prefix: string, limit: number, from?: string) =>
      listing(() => store.listFolders(prefix, limit, from)),
  };
}
