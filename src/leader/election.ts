/**
 * Who leads, by the lease and the metadata of `cluster/leader`.
 *
 * A node is in one of three states:
 *
 *     standing by ──(look: nobody leads, or there is reason to break)──▶ standing ──(lease taken)──▶ leading
 *          ▲                                                                │                          │
 *          └──────────────(another was first; storage failed)───────────────┴──────(term ended)────────┘
 *
 * Standing by, it looks at `cluster/leader` now and then. Where the lease is held it waits, unless there is evidence
 * that the leader's process is gone; then it breaks the lease, if nobody changed the blob since the look.
 *
 * Standing, it claims first: one write of the next epoch with its own address, if nobody changed the blob since the
 * look. Only then it takes the lease. Lease operations leave the blob's version alone, so of all who looked at the same
 * time the claim lets one through; without it candidates would break each other's fresh leases for ever. If, once the
 * lease is taken, the blob has another claim than our own (somebody claimed in between, and cannot any more), it
 * claims once more, under the lease.
 *
 * Leading, it renews the lease. Its term ends when storage says that the lease is not ours, when the lease's length
 * went by without a renewal, when its clock is found wrong, or when it is told to step down. Whatever ends it, the
 * lease is given back, and the node stands by again.
 *
 * Invariants:
 * - An epoch comes only from one's own claim, and each claim's epoch is above all claims before it.
 * - At most one fence holds at a time on a node, and it carries the epoch of the node's last claim. What ended never
 *   holds again.
 * - Two nodes may believe that they lead at the same time. The sequence number of each segment decides between them;
 *   here it is only made rare.
 */
import type { BlobStore } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import type { Clock } from "../clock.ts";
import { VaultError, isKind } from "../errors.ts";
import type { Log } from "../log.ts";
import { createBackoff, jitter } from "./backoff.ts";
import type { Backoff } from "./backoff.ts";
import { claimEpoch, controlName, describeSkew, openControl } from "./control.ts";
import type { Claimant, Control } from "./control.ts";
import { createFence } from "./fence.ts";
import type { FenceControl, LeaderFence } from "./fence.ts";
import { holdLease } from "./hold-lease.ts";
import { createLease } from "./lease.ts";
import type { Lease } from "./lease.ts";
import { createObservable } from "./observed.ts";
import type { Observable } from "./observed.ts";
import type { Probe } from "./probe.ts";

/** What the election is tuned by. */
export interface ElectionSettings {
  /** The length of the lease in seconds: 15 to 60. */
  readonly leaseSeconds: number;
  /** How often a leader renews it, in milliseconds: at most a third of its length, so that two may fail. */
  readonly renewMs: number;
  /** How often, at most, a standby looks at the lease, in milliseconds. */
  readonly pollMs: number;
  /** How far this node's clock may be off storage's while it leads, in milliseconds. */
  readonly clockSkewMsMax: number;
}

/** What an election needs. */
export interface ElectionOptions {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  /** New at each start of the process. */
  readonly nodeId: string;
  /** Where others reach this node: host:port. It listens there already, so no other process of its host does. */
  readonly endpoint: string;
  readonly settings: ElectionSettings;
  readonly probe: Probe;
}

/** Who leads. */
export interface Leader {
  readonly nodeId: string;
  /** host:port. */
  readonly endpoint: string;
  readonly epoch: number;
  /** Since when, by storage's clock, in milliseconds since 1970. */
  readonly since: number;
}

/** The election as this node sees it. A standby's view is as old as its last look. */
export interface ElectionState {
  readonly role: "leader" | "standby";
  /** Who leads, this node included; undefined while nobody is known to. */
  readonly leader: Leader | undefined;
}

/** A node's part in the election. */
export interface Election {
  readonly role: "leader" | "standby";
  /** The leader's epoch; 0 while nobody is known to lead. */
  readonly epoch: number;
  readonly leader: Leader | undefined;
  /** The state now, and each newer one, until `signal` is aborted or the election is closed. */
  changes(signal: AbortSignal): AsyncIterable<ElectionState>;
  /** The fence to write under. Throws `unavailable`, with the leader where one is known, if this node does not lead. */
  fence(): LeaderFence;
  /** Ends this node's leadership, if it leads, and lets others go first; `reason` is for the log. */
  stepDown(reason: string): void;
  /**
   * Claims an epoch above `epoch`, the one found on a segment: `cluster/leader` was lost and begun again. The fence so
   * far ends. Does nothing if the own epoch is above it already. Throws `fenced` if the lease is not this node's any
   * more (then the number is a newer leader's), `unavailable` if it does not lead or storage fails.
   */
  claimAbove(epoch: number): Promise<void>;
  /** Gives the lease back and ends. Resolves when storage has answered. */
  close(): Promise<void>;
}

// After a failed attempt, doubled each time up to the poll interval.
const backoffMsFirst = 200;
// A leader that stepped down leaves the others this much time to take over.
const stepDownPauseMs = 1000;
// A node whose lease was broken though it lived is cut off from who broke it: it breaks none by refusals meanwhile.
const deposedQuietMs = 10 * 60_000;
// An acquire whose answer was lost is sent again so often, so long after.
const acquireAttemptsMax = 3;
const acquireRetryMs = 500;
// What a caller is told to wait when this node does not lead.
const retryAfterMs = 500;

/** A term of leadership: one lease, and the fence of the last claim made under it. */
interface Term {
  readonly lease: Lease;
  readonly ended: AbortController;
  control: Control;
  claim: FenceControl;
}

/**
 * Begins to take part in the election. Resolves once `cluster/leader` was looked at, or storage could not be reached;
 * rejects where that will not get better by itself: `notFound` (no such container), `denied`, `unauthenticated`,
 * `invalid`, `corrupt`.
 */
export async function startElection(options: ElectionOptions): Promise<Election> {
  const candidate = new Candidate(options);
  await candidate.checkStorage();
  candidate.start();
  return candidate;
}

class Candidate implements Election {
  readonly #options: ElectionOptions;
  readonly #self: Claimant;
  readonly #state: Observable<ElectionState> = createObservable<ElectionState>({ role: "standby", leader: undefined });
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #claiming: Promise<void> = Promise.resolve();
  #term: Term | undefined;
  /** Why this node may not lead, for messages. */
  #hindrance: string | undefined;
  #looks = 0;
  #quietUntil = -Infinity;

  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#backoff = createBackoff(options.clock, backoffMsFirst, options.settings.pollMs);
    this.#self = { nodeId: options.nodeId, endpoint: options.endpoint };
  }

  get role() {
    return this.#state.value.role;
  }

  get leader() {
    return this.#state.value.leader;
  }

  get epoch() {
    return this.#state.value.leader?.epoch ?? 0;
  }

  changes(signal: AbortSignal): AsyncIterable<ElectionState> {
    return this.#state.changes(signal);
  }

  fence(): LeaderFence {
    const term = this.#term;
    if (term !== undefined && term.lease.remainingMs() > 0) return term.claim.fence;
    const leader = this.leader?.nodeId === this.#self.nodeId ? undefined : this.leader;
    const who = leader === undefined ? "no leader is known now" : `the leader is ${leader.endpoint}`;
    const why = this.#hindrance === undefined ? "" : ` (${this.#hindrance})`;
    throw new VaultError("unavailable", `this node does not lead: ${who}${why}; nothing was stored, try again`, {
      retryAfterMs,
      ...(leader === undefined ? {} : { leader: leader.endpoint }),
    });
  }

  stepDown(reason: string): void {
    if (this.#term !== undefined) this.#endTerm(this.#term, reason);
  }

  claimAbove(epoch: number): Promise<void> {
    const claiming = this.#claiming.then(() => this.#claimAbove(epoch));
    this.#claiming = claiming.catch(() => undefined);
    return claiming;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.stepDown("this node is shutting down");
    await this.#running;
    this.#state.close();
  }

  async checkStorage(): Promise<void> {
    const { store, clock, log } = this.#options;
    try {
      await openControl(store, clock);
    } catch (error) {
      if (!isKind(error, "notFound", "denied", "unauthenticated", "invalid", "corrupt")) {
        log.warn("storage does not answer yet", { storage: store.description, error });
        return;
      }
      const advice = isKind(error, "notFound") ? "create the container first, or check its name" : "check the setting";
      const message = `cannot use ${store.description}: ${error.message}; ${advice}`;
      throw new VaultError(error.kind, isKind(error, "corrupt") ? error.message : message, error.detail, error);
    }
  }

  start(): void {
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const waitMs = await this.#campaign();
      await sleep(this.#options.clock, waitMs, this.#closing.signal);
    }
  }

  /** One look and what follows from it, a term included. Resolves to the milliseconds to wait before the next. */
  async #campaign(): Promise<number> {
    try {
      const found = await this.#look();
      if (this.#hindrance !== undefined) return jitter(this.#options.clock, this.#options.settings.pollMs);
      const broke = found.leased && (await this.#breakLease(found));
      if (found.leased && !broke) {
        this.#backoff.reset();
        return jitter(this.#options.clock, this.#options.settings.pollMs);
      }
      const term = await this.#stand(found, broke);
      if (term === undefined) return this.#backoff.next();
      this.#backoff.reset();
      await this.#lead(term);
      return jitter(this.#options.clock, stepDownPauseMs);
    } catch (error) {
      const report = isKind(error, "conflict") ? "debug" : "warn";
      this.#options.log[report]("election attempt failed", { error });
      return this.#backoff.next();
    }
  }

  async #look(): Promise<Control> {
    const { store, clock, settings, log } = this.#options;
    const found = await openControl(store, clock);
    this.#looks++;
    const { claimant, epoch, since } = found;
    const led = found.leased && claimant !== undefined && claimant.nodeId !== this.#self.nodeId;
    this.#show({ role: "standby", leader: led ? { ...claimant, epoch, since } : undefined });
    this.#hindrance = describeSkew(found.skewMs, settings.clockSkewMsMax);
    if (this.#hindrance !== undefined) log.error("this node cannot lead", { reason: this.#hindrance });
    return found;
  }

  /** Breaks the lease where there is evidence that its holder is gone. Resolves to whether nobody holds it now. */
  async #breakLease(found: Control): Promise<boolean> {
    const evidence = await this.#evidenceAgainst(found);
    if (evidence === undefined) return false;
    const { store, log } = this.#options;
    try {
      await store.breakLease(controlName, found.etag);
    } catch (error) {
      if (!isKind(error, "conflict")) throw error;
      return error.detail.condition === "lease";
    }
    log.warn("broke the leader's lease", { epoch: found.epoch, endpoint: found.claimant?.endpoint, evidence });
    return true;
  }

  async #evidenceAgainst(found: Control): Promise<string | undefined> {
    const { claimant } = found;
    const { clock, probe } = this.#options;
    if (claimant === undefined || claimant.nodeId === this.#self.nodeId) return undefined;
    if (claimant.endpoint === this.#self.endpoint) {
      // Only at the start: two nodes that by mistake go by one address must not depose each other for ever.
      return this.#looks === 1 ? "it had this node's own address" : undefined;
    }
    if (clock.monotonic() < this.#quietUntil) return undefined;
    const result = await probe(claimant.endpoint, this.#closing.signal);
    return result === "refused" ? "its host refuses connections" : undefined;
  }

  /** Claims the next epoch and takes the lease; undefined where another was first. */
  async #stand(found: Control, broke: boolean): Promise<Term | undefined> {
    const { store, clock, settings } = this.#options;
    const claimed = await claimEpoch(store, clock, found, this.#self, { broke });
    if (claimed === undefined) return undefined;
    const lease = createLease(store, clock, controlName, settings.leaseSeconds);
    try {
      if (!(await this.#acquire(lease))) return undefined;
      const control = await this.#confirm(claimed, lease);
      if (control === undefined) throw new VaultError("conflict", "the lease was lost as soon as it was taken");
      return { lease, control, claim: createFence(control.epoch, lease), ended: new AbortController() };
    } catch (error) {
      await this.#release(lease);
      throw error;
    }
  }

  async #acquire(lease: Lease): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await lease.acquire();
        return true;
      } catch (error) {
        if (isKind(error, "conflict")) return false;
        if (attempt === acquireAttemptsMax || this.#closing.signal.aborted) throw error;
      }
      await sleep(this.#options.clock, jitter(this.#options.clock, acquireRetryMs), this.#closing.signal);
    }
  }

  async #confirm(claimed: Control, lease: Lease): Promise<Control | undefined> {
    const { store, clock } = this.#options;
    const now = await openControl(store, clock);
    if (now.etag === claimed.etag) return claimed;
    return claimEpoch(store, clock, now, this.#self, { above: claimed.epoch, leaseId: lease.id });
  }

  /** Leads until the term ends, and gives the lease back. */
  async #lead(term: Term): Promise<void> {
    if (this.#closing.signal.aborted) {
      await this.#release(term.lease);
      return;
    }
    this.#term = term;
    this.#showTerm(term);
    const { epoch, breaks } = term.control;
    const { store, clock, log, settings } = this.#options;
    log.info("this node leads", { epoch, endpoint: this.#self.endpoint, breaks });
    const { renewMs, clockSkewMsMax } = settings;
    const loss = await holdLease(term.lease, { store, clock, log, renewMs, clockSkewMsMax }, term.ended.signal);
    if (loss?.deposed === true) this.#quietUntil = clock.monotonic() + deposedQuietMs;
    if (loss !== undefined) this.#endTerm(term, loss.reason);
    await this.#release(term.lease);
  }

  async #claimAbove(epoch: number): Promise<void> {
    const term = this.#term;
    if (term === undefined) this.fence();
    if (term === undefined || term.control.epoch > epoch) return;
    const { store, clock, log } = this.#options;
    const control = await claimEpoch(store, clock, term.control, this.#self, { above: epoch, leaseId: term.lease.id });
    if (control === undefined) this.#endTerm(term, `epoch ${epoch} is a newer leader's`);
    if (control === undefined || term.ended.signal.aborted) return term.claim.fence.assertHeld();
    log.warn("claimed an epoch above one found on a segment", { found: epoch, epoch: control.epoch });
    const previous = term.claim;
    term.control = control;
    term.claim = createFence(control.epoch, term.lease);
    previous.end(`this node claimed epoch ${control.epoch}`);
    this.#showTerm(term);
  }

  #endTerm(term: Term, reason: string): void {
    if (term.ended.signal.aborted) return;
    const level = this.#closing.signal.aborted ? "info" : "warn";
    this.#options.log[level]("this node leads no more", { epoch: term.control.epoch, reason });
    this.#term = undefined;
    term.ended.abort();
    term.claim.end(reason);
    this.#show({ role: "standby", leader: undefined });
  }

  async #release(lease: Lease): Promise<void> {
    try {
      await lease.release();
    } catch (error) {
      // It runs out by itself.
      this.#options.log.debug("the lease could not be given back", { error });
    }
  }

  #showTerm(term: Term): void {
    const { epoch, since } = term.control;
    this.#show({ role: "leader", leader: { ...this.#self, epoch, since } });
  }

  #show(state: ElectionState): void {
    const { role, leader } = this.#state.value;
    if (role !== state.role || leader?.nodeId !== state.leader?.nodeId || leader?.epoch !== state.leader?.epoch) {
      this.#state.set(state);
      if (state.role === "standby" && state.leader !== undefined)
        this.#options.log.info("another node leads", { ...state.leader });
    }
  }
}
