import type { BlobStore } from "../../src/blob/blob-store.ts";

/** The calls of a store, by name. */
export type StoreCall = Exclude<keyof BlobStore, "description">;

/** What happens in place of a call. `forward` makes the call after all. */
export type Fault = (forward: () => Promise<unknown>, args: readonly unknown[]) => Promise<unknown>;

/** A store that fails as it is told. */
export interface FaultyStore {
  readonly store: BlobStore;
  /** How often each call was made. */
  readonly calls: ReadonlyMap<StoreCall, number>;
  /** From now on `fault` stands in for this call; undefined ends it. */
  set(call: StoreCall, fault: Fault | undefined): void;
}

/** Wraps a store, so that a test can lose requests and answers on their way. */
export function createFaultyStore(inner: BlobStore): FaultyStore {
  const faults = new Map<StoreCall, Fault>();
  const calls = new Map<StoreCall, number>();
  const store = new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      const call = name as StoreCall;
      return (...args: unknown[]) => {
        calls.set(call, (calls.get(call) ?? 0) + 1);
        const forward = () => value.apply(target, args) as Promise<unknown>;
        return faults.get(call)?.(forward, args) ?? forward();
      };
    },
  });
  return {
    store,
    calls,
    set(call, fault) {
      if (fault === undefined) faults.delete(call);
      else faults.set(call, fault);
    },
  };
}
