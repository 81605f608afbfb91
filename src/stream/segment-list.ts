/** The segments of a stream, as a listing of storage shows them. */
import type { BlobReader } from "../blob/blob-store.ts";

/** A segment in a listing. */
export interface ListedSegment {
  readonly firstOffset: bigint;
  /** The page blob's name. */
  readonly blob: string;
  /** The index blob's name. */
  readonly indexBlob: string;
  /** Whether there is an index: at least a checkpoint. */
  readonly indexed: boolean;
  /** When storage says that the page blob was changed last, in milliseconds since 1970: for guesses only. */
  readonly changedAt?: number | undefined;
}

const listLimit = 5000;
const blobName = /^(\d{20})\.(segment|index)$/;

/** The name of a segment's page blob. The offset has 20 digits, so that names sort. */
export function segmentBlob(prefix: string, firstOffset: bigint): string {
  return `${prefix}${String(firstOffset).padStart(20, "0")}.segment`;
}

/** The name of a segment's index blob. */
export function indexBlob(prefix: string, firstOffset: bigint): string {
  return `${prefix}${String(firstOffset).padStart(20, "0")}.index`;
}

/** The segment that begins with `firstOffset`. */
export function listedSegment(prefix: string, firstOffset: bigint, indexed = true): ListedSegment {
  return { firstOffset, blob: segmentBlob(prefix, firstOffset), indexBlob: indexBlob(prefix, firstOffset), indexed };
}

/** Lists the segments under `prefix`, in order. */
export async function listSegments(store: BlobReader, prefix: string): Promise<ListedSegment[]> {
  const segments = new Map<string, number | undefined>();
  const indexes = new Set<string>();
  let from: string | undefined;
  do {
    const page = await store.list(prefix, listLimit, from);
    for (const { name, changedAt } of page.items) {
      const match = blobName.exec(name.slice(prefix.length));
      if (match?.[2] === "segment") segments.set(match[1]!, changedAt);
      else if (match !== null) indexes.add(match[1]!);
    }
    from = page.next;
  } while (from !== undefined);
  return [...segments.keys()].toSorted().map((digits) => ({
    ...listedSegment(prefix, BigInt(digits), indexes.has(digits)),
    changedAt: segments.get(digits),
  }));
}

/**
 * Of the sealed segments of a log, in order, those that hold something at or behind `offset`; `open` is the one behind them.
 * What lies before them was trimmed, where `offset` is the stream's start: it is gone, or will be soon.
 */
export function keptFrom(
  sealed: readonly ListedSegment[],
  open: Pick<ListedSegment, "firstOffset">,
  offset: bigint,
): ListedSegment[] {
  return sealed.filter((_, at) => (sealed[at + 1] ?? open).firstOffset > offset);
}
