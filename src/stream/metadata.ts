/**
 * `streams/NAME/stream.json`: the incarnation, its settings and its start. Changed by If-Match only.
 *
 * A stream is made in two steps: its name is reserved where nothing stands, then the reservation becomes the stream, by
 * If-Match. Storage may carry out a request once more, much later: were a stream made by one request, that would bring it
 * back after its deletion, empty, and its offsets would be given again. A reservation that comes late is no stream.
 */
import { z } from "zod";
import type { BlobReader, BlobStore, Etag } from "../blob/blob-store.ts";
import type { Clock } from "../clock.ts";
import { isKind, VaultError } from "../errors.ts";
import type { SettingsChange, StreamSettings } from "./commands.ts";

const settingsSchema = z.strictObject({
  segmentBytes: z.int().optional(),
  segmentAgeMs: z.int().optional(),
  retentionAgeMs: z.int().optional(),
  retentionBytes: z.int().optional(),
  producerWindowMs: z.int().optional(),
});

const metadataSchema = z.object({
  version: z.literal(1),
  incarnation: z.string().regex(/^[0-9a-f]{32}$/),
  /** New at each change: settles whether a change whose answer was lost is there. */
  revision: z.string(),
  createdAt: z.int(),
  startOffset: z.string().regex(/^\d+$/),
  settings: settingsSchema,
});

/** What stands where a stream is about to be made, or was when a request came late. */
const reservationSchema = z.strictObject({ version: z.literal(1), reserved: z.literal(true) });

/** What stream.json says. */
export interface StreamMetadata {
  readonly incarnation: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** The first offset that may be read. */
  readonly startOffset: bigint;
  /** The settings that differ from the vault's defaults. */
  readonly settings: SettingsChange;
}

/** Metadata with the version that it was read from. */
export interface VersionedMetadata {
  readonly metadata: StreamMetadata;
  readonly etag: Etag;
}

const attemptsMax = 10;

/** Where a stream's metadata stands. */
export function metadataBlob(stream: string): string {
  return `streams/${stream}/stream.json`;
}

/** Where an incarnation's segments and indexes stand. */
export function segmentPrefix(stream: string, incarnation: string): string {
  return `streams/${stream}/${incarnation}/`;
}

/** Reads a stream's metadata; undefined if there is no such stream. Throws `corrupt` where it cannot be understood. */
export async function readMetadata(store: BlobReader, stream: string): Promise<VersionedMetadata | undefined> {
  const stored = await store.get(metadataBlob(stream));
  const decoded = stored && decode(stored.bytes, stream);
  return decoded && { metadata: decoded.metadata, etag: stored.etag };
}

/** Makes a stream: writes its metadata, with an incarnation of its own. Throws `alreadyExists`. */
export async function createMetadata(
  store: BlobStore,
  clock: Clock,
  stream: string,
  settings: SettingsChange,
): Promise<VersionedMetadata> {
  const blob = metadataBlob(stream);
  let incarnation = clock.id();
  const revision = clock.id();
  for (let attempt = 1; ; attempt++) {
    const stored = await store.get(blob);
    const there = stored && decode(stored.bytes, stream);
    // An attempt whose answer was lost may have made it: the revision tells.
    if (there?.revision === revision) return { metadata: there.metadata, etag: stored!.etag };
    if (there !== undefined) {
      throw new VaultError("alreadyExists", `there is a stream ${stream} already`, { resource: stream });
    }
    const metadata = { incarnation, createdAt: clock.now(), startOffset: 0n, settings };
    try {
      const reserved = stored?.etag ?? (await store.put(blob, reservation, { ifNoneMatch: "*" }));
      const etag = await store.put(blob, encode(metadata, revision), { ifMatch: reserved });
      return { metadata, etag };
    } catch (error) {
      if (!isKind(error, "alreadyExists", "conflict", "indeterminate") || attempt === attemptsMax) throw error;
      // What was tried may have been made, used and deleted by now.
      incarnation = clock.id();
    }
  }
}

/** Removes what was reserved for a stream that was never made. Does nothing where there is a stream, or nothing. */
export async function removeReservation(store: BlobStore, stream: string): Promise<void> {
  const stored = await store.get(metadataBlob(stream));
  if (stored === undefined || decode(stored.bytes, stream) !== undefined) return;
  await store.remove(metadataBlob(stream), stored.etag);
}

/**
 * Changes a stream's metadata by `change`, which is called again with newer metadata where another change came first;
 * where it returns what it was given, nothing is written. Throws `notFound`, and what `change` throws.
 */
export async function changeMetadata(
  store: BlobStore,
  clock: Clock,
  stream: string,
  change: (metadata: StreamMetadata) => StreamMetadata,
): Promise<VersionedMetadata> {
  const revision = clock.id();
  for (let attempt = 1; ; attempt++) {
    const stored = await store.get(metadataBlob(stream));
    const current = stored && decode(stored.bytes, stream);
    if (current === undefined) throw streamNotFound(stream);
    if (current.revision === revision) return { metadata: current.metadata, etag: stored!.etag };
    const metadata = change(current.metadata);
    if (metadata === current.metadata) return { metadata, etag: stored!.etag };
    try {
      const etag = await store.put(metadataBlob(stream), encode(metadata, revision), { ifMatch: stored!.etag });
      return { metadata, etag };
    } catch (error) {
      if (!isKind(error, "conflict", "indeterminate") || attempt === attemptsMax) throw error;
    }
  }
}

/** The settings in force: the stream's own, else the defaults. */
export function effectiveSettings(own: SettingsChange, defaults: StreamSettings): StreamSettings {
  const set = Object.entries(own).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(set) };
}

/** The error for a stream that does not exist. */
export function streamNotFound(stream: string): VaultError {
  return new VaultError("notFound", `there is no stream ${stream}`, { resource: stream });
}

function encode(metadata: StreamMetadata, revision: string): Buffer {
  const { incarnation, createdAt, startOffset, settings } = metadata;
  const stored = { version: 1, incarnation, revision, createdAt, startOffset: String(startOffset), settings };
  return Buffer.from(`${JSON.stringify(stored, undefined, 2)}\n`);
}

const reservation = Buffer.from(`${JSON.stringify({ version: 1, reserved: true })}\n`);

/** Undefined for a reservation: there is no stream. */
function decode(bytes: Buffer, stream: string): { metadata: StreamMetadata; revision: string } | undefined {
  try {
    const stored: unknown = JSON.parse(bytes.toString());
    if (reservationSchema.safeParse(stored).success) return undefined;
    const { incarnation, revision, createdAt, startOffset, settings } = metadataSchema.parse(stored);
    return { revision, metadata: { incarnation, createdAt, startOffset: BigInt(startOffset), settings } };
  } catch (error) {
    const blob = metadataBlob(stream);
    throw new VaultError("corrupt", `${blob} cannot be understood; was it changed by hand?`, { resource: blob }, error);
  }
}
