import type { BlobProperties, BlobStore, Etag } from "../blob/blob-store.ts";
import type { Clock } from "../clock.ts";
import { VaultError, isKind } from "../errors.ts";
import { failoverCauses } from "./leader.ts";
import type { Failover } from "./leader.ts";
import { leastSkewMs } from "./skew.ts";

/** The blob whose lease says who leads, and whose metadata says who that is. */
export const controlName = "cluster/leader";

/** What stands in `cluster/leader`, as it was read. */
export interface Control {
  readonly etag: Etag;
  /** Whether somebody holds the lease. */
  readonly leased: boolean;
  /** The epoch of the last claim; 0 while there was none. */
  readonly epoch: number;
  /** Who made the last claim; undefined while there was none. */
  readonly claimant: Claimant | undefined;
  /** When the last claim was made, by storage's clock, in milliseconds since 1970; 0 while there was none. */
  readonly since: number;
  /** How the last claimant came to it. */
  readonly failover: Failover;
  /** How often in a row leaders were replaced because they were silent, but for those that led for long. */
  readonly silences: number;
  /** How often a leader's lease was broken, in all. */
  readonly breaks: number;
  /** When one was broken last, by storage's clock; 0 while none was. */
  readonly brokenAt: number;
  /** Storage's time when it answered, in milliseconds since 1970. */
  readonly date: number;
  /** How far this node's clock is ahead of storage's (behind: negative), at least, in milliseconds. */
  readonly skewMs: number;
}

/** Who claims to lead. */
export interface Claimant {
  readonly nodeId: string;
  /** Where other nodes and clients reach it: host:port. */
  readonly endpoint: string;
}

/** How a claim is made. */
export interface ClaimOptions {
  readonly failover: Failover;
  readonly silences: number;
  /** The new epoch is above this as well. */
  readonly above?: number;
  /** Whether the lease was broken for it. */
  readonly broke?: boolean;
  /** The lease that the claim is made under; without it the claim succeeds only where nobody holds the lease. */
  readonly leaseId?: string;
}

/** Reads `cluster/leader`; undefined if there is none. `corrupt` where its metadata makes no sense. */
export async function readControl(store: BlobStore, clock: Clock): Promise<Control | undefined> {
  const sentAt = clock.now();
  const properties = await store.properties(controlName);
  return properties === undefined ? undefined : toControl(properties, sentAt, clock.now());
}

/** Reads `cluster/leader`, and makes it if there is none. `notFound` where the container is missing. */
export async function openControl(store: BlobStore, clock: Clock): Promise<Control> {
  const found = await readControl(store, clock);
  if (found !== undefined) return found;
  try {
    await store.createControl(controlName, { epoch: "0" });
  } catch (error) {
    if (!isKind(error, "alreadyExists", "conflict", "indeterminate")) throw error;
  }
  const made = await readControl(store, clock);
  if (made !== undefined) return made;
  throw new VaultError("unavailable", `${controlName} in ${store.description} was deleted as soon as it was made`);
}

/**
 * Makes `cluster/leader` if there is none, and sees whether its lease may be used: `denied` where not. `notFound` where
 * the container is missing.
 */
export async function checkControl(store: BlobStore, clock: Clock): Promise<void> {
  await openControl(store, clock);
  try {
    // Nobody has a lease under a new id, so this changes nothing.
    await store.releaseLease(controlName, clock.id());
  } catch (error) {
    if (!isKind(error, "conflict")) throw error;
  }
}

/**
 * Claims the epoch after `found`'s, if nobody changed the blob since. Resolves to what stands there now, or undefined
 * where another was first. If the answer was lost the claim is read back.
 */
export async function claimEpoch(
  store: BlobStore,
  clock: Clock,
  found: Control,
  claimant: Claimant,
  options: ClaimOptions,
): Promise<Control | undefined> {
  const { failover, silences, above = 0, broke = false, leaseId } = options;
  const claimed = {
    ...found,
    epoch: Math.max(found.epoch, above) + 1,
    claimant,
    since: found.date,
    failover,
    silences,
    breaks: found.breaks + (broke ? 1 : 0),
    brokenAt: broke ? found.date : found.brokenAt,
  };
  try {
    const etag = await store.setMetadata(controlName, toMetadata(claimed, claimant), found.etag, leaseId);
    return { ...claimed, etag };
  } catch (error) {
    if (isKind(error, "conflict")) return undefined;
    if (!isKind(error, "indeterminate")) throw error;
  }
  const now = await readControl(store, clock);
  return now?.epoch === claimed.epoch && now.claimant?.nodeId === claimant.nodeId ? now : undefined;
}

function toMetadata(control: Control, claimant: Claimant): Record<string, string> {
  return {
    epoch: String(control.epoch),
    node: claimant.nodeId,
    endpoint: claimant.endpoint,
    since: String(control.since),
    cause: control.failover.cause,
    ...(control.failover.gapMs === undefined ? {} : { gapms: String(control.failover.gapMs) }),
    silences: String(control.silences),
    breaks: String(control.breaks),
    brokenat: String(control.brokenAt),
  };
}

function toControl(properties: BlobProperties, sentAt: number, answeredAt: number): Control {
  const { metadata, etag, leased, date } = properties;
  const { node, endpoint } = metadata;
  return {
    etag,
    leased,
    epoch: readNumber(metadata, "epoch"),
    claimant: node === undefined || endpoint === undefined ? undefined : { nodeId: node, endpoint },
    since: readNumber(metadata, "since"),
    failover: readFailover(metadata),
    silences: readNumber(metadata, "silences"),
    breaks: readNumber(metadata, "breaks"),
    brokenAt: readNumber(metadata, "brokenat"),
    date,
    skewMs: leastSkewMs(date, sentAt, answeredAt),
  };
}

// What versions before this one wrote has none of it.
function readFailover(metadata: BlobProperties["metadata"]): Failover {
  return {
    cause: failoverCauses.find((cause) => cause === metadata["cause"]) ?? "unknown",
    gapMs: metadata["gapms"] === undefined ? undefined : readNumber(metadata, "gapms"),
  };
}

function readNumber(metadata: BlobProperties["metadata"], name: string): number {
  const text = metadata[name] ?? "0";
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new VaultError(
    "corrupt",
    `${controlName} has ${name} = "${text}", which is no number: stop every node and delete the blob; ` +
      `the next leader makes a new one and claims an epoch above those on the segments`,
    { resource: controlName },
  );
}
