import type { Clock } from "../clock.ts";
import type { ErrorDetail, ErrorKind } from "../errors.ts";
import { VaultError } from "../errors.ts";
import type { BlobEntry, BlobStore, Fence } from "./blob-store.ts";

/** One thing that a store must do. */
export interface ContractCheck {
  /** Subject and outcome. */
  readonly title: string;
  /**
   * Runs on names that begin with `prefix`, where nothing is yet. Throws if the store does something else; the message
   * says what was expected and what was found.
   */
  run(store: BlobStore, prefix: string, clock: Clock): Promise<void>;
}

/** A fence of this epoch that is held for ever. */
export function heldFence(epoch: number): Fence {
  return { epoch, assertHeld() {} };
}

/** `sizeBytes` of bytes that are not zero and differ by `seed`. */
export function filledBytes(sizeBytes: number, seed: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let index = 0; index < sizeBytes; index += 1) bytes[index] = 1 + ((index * 7 + (index >> 8) + seed * 31) % 255);
  return bytes;
}

/** Throws unless the two are the same as JSON, or the same bytes. */
export function expectEqual(what: string, actual: unknown, expected: unknown): void {
  if (actual instanceof Uint8Array && expected instanceof Uint8Array) {
    if (Buffer.compare(actual, expected) === 0) return;
    const at = actual.findIndex((byte, index) => byte !== expected[index]);
    const lengths = `${actual.length} bytes for ${expected.length}`;
    throw new Error(`${what}: other bytes than expected, from ${at === -1 ? "the end" : at} on (${lengths})`);
  }
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new Error(`${what}: expected ${wanted}, found ${found}`);
}

/** Throws unless the promise rejects with a VaultError of this kind, and of this condition where one is given. */
export async function expectRejection(
  what: string,
  promise: Promise<unknown>,
  kind: ErrorKind,
  condition?: ErrorDetail["condition"],
): Promise<void> {
  const wanted = condition === undefined ? kind : `${kind} (${condition})`;
  const found = await outcomeOf(promise);
  if (found !== wanted && !(condition === undefined && found.startsWith(`${kind} (`))) {
    throw new Error(`${what}: expected ${wanted}, found ${found}`);
  }
}

/** `done`, or the kind and condition of what the promise rejects with. */
export async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "done";
  } catch (error) {
    if (!(error instanceof VaultError)) return `no VaultError but ${String(error)}`;
    return error.detail.condition === undefined ? error.kind : `${error.kind} (${error.detail.condition})`;
  }
}

/** What a listing says of a blob, but for when it was changed: not every storage tells. */
export function nameAndSize({ name, sizeBytes }: BlobEntry): BlobEntry {
  return { name, sizeBytes };
}
