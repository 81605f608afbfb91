import type { Clock } from "../clock.ts";
import type { BlobStore } from "./blob-store.ts";
import { removeAll } from "./contract-blocks.ts";
import { contract } from "./contract.ts";

/** What one check of the contract has shown. */
export interface CheckResult {
  readonly title: string;
  /** What the store does differently; undefined where it does what it must. */
  readonly difference: string | undefined;
  readonly durationMs: number;
}

/**
 * Runs the contract on a store, below a scratch prefix of its own that it removes again, and tells the result of each
 * check as it is there. Throws only where cleaning up fails; nothing but the scratch prefix is touched.
 */
export async function* checkStorage(store: BlobStore, clock: Clock): AsyncIterable<CheckResult> {
  const scratch = `check-storage/${clock.id()}/`;
  try {
    for (const [index, check] of contract.entries()) {
      const startedAt = clock.monotonic();
      let difference: string | undefined;
      try {
        await check.run(store, `${scratch}${index}/`, clock);
      } catch (error) {
        difference = error instanceof Error ? error.message : String(error);
      }
      yield { title: check.title, difference, durationMs: clock.monotonic() - startedAt };
    }
  } finally {
    await removeAll(store, scratch);
  }
}
