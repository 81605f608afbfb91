/**
 * Who leads, by the lease and the metadata of `cluster/leader`.
 *
 * A node is in one of three states:
 *
 *     standing by ──(look: nobody leads, or there are grounds to depose)──▶ standing ──(lease taken)──▶ leading
 *          ▲                                                                   │                           │
 *          └───────────────(another was first; storage failed)─────────────────┴───────(term ended)────────┘
 *
 * Standing by, it looks at `cluster/leader` now and then, and at once when there is news of the leader that it watches
 * (outlook.ts, watch.ts). Where the lease is held it waits, unless there are grounds to depose its holder (grounds.ts);
 * then it breaks the lease, if nobody changed the blob since the look.
 *
 * Standing (stand.ts), it claims first: one write of the next epoch with its own address, if nobody changed the blob
 * since the look. Only then it takes the lease. Lease operations leave the blob's version alone, so of all who looked at
 * the same time the claim lets one through; without it candidates would break each other's fresh leases for ever. If,
 * once the lease is taken, the blob has another claim than our own (somebody claimed in between, and cannot any more),
 * it claims once more, under the lease.
 *
 * Leading, it renews the lease. Its term ends when storage says that the lease is not ours, when the lease's length
 * went by without a renewal, when its clock is found wrong, or when it is told to resign. Whatever ends it, the lease is
 * given back, and the node stands by again. One that resigned lets others go first for a while.
 *
 * Invariants:
 * - An epoch comes only from one's own claim, and each claim's epoch is above all claims before it.
 * - At most one fence holds at a time on a node, and it carries the epoch of the node's last claim. What ended never
 *   holds again.
 * - Two nodes may believe that they lead at the same time. The sequence number of each segment decides between them;
 *   here it is only made rare.
 * - While nothing changes a node sends one request per renewal (leading) or per poll (standing by), and no other.
 */
import type { BlobStore, Etag } from "../blob/blob-store.ts";
import type { Clock } from "../clock.ts";
import { VaultError, isKind } from "../errors.ts";
import type { Log } from "../log.ts";
import { noTelemetry, type Telemetry } from "../telemetry.ts";
import { createBackoff } from "./backoff.ts";
import type { Backoff } from "./backoff.ts";
import { checkControl, claimEpoch, controlName, openControl } from "./control.ts";
import type { Claimant, ClaimOptions, Control } from "./control.ts";
import { createElectionMeters, type ElectionMeters } from "./election-meters.ts";
import { createFence } from "./fence.ts";
import type { FenceControl, LeaderFence } from "./fence.ts";
import { countSilences } from "./grounds.ts";
import { holdLease } from "./hold-lease.ts";
import type { FailoverCause, Leader } from "./leader.ts";
import type { Lease } from "./lease.ts";
import { createObservable } from "./observed.ts";
import type { Observable } from "./observed.ts";
import { createOutlook } from "./outlook.ts";
import type { Outlook } from "./outlook.ts";
import { describeSkew } from "./skew.ts";
import { release, stand } from "./stand.ts";
import type { Standing } from "./stand.ts";
import type { LeaderWatch } from "./watch.ts";

/** What the election is tuned by. */
export interface ElectionSettings {
  /** The length of the lease in seconds: 15 to 60. */
  readonly leaseSeconds: number;
  /** How often a leader renews it, in milliseconds: at most a third of its length, so that two may fail. */
  readonly renewMs: number;
  /** How often, at most, a standby looks at the lease while nothing is known against the leader, in milliseconds. */
  readonly pollMs: number;
  /** How far this node's clock may be off storage's while it leads, in milliseconds. */
  readonly clockSkewMsMax: number;
}

/** What an election needs. */
export interface ElectionOptions {
  readonly store: BlobStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Where it tells what happens; nowhere if absent. */
  readonly telemetry?: Telemetry | undefined;
  /** New at each start of the process. */
  readonly nodeId: string;
  /** Where others reach this node: host:port. It listens there already, so no other process of its host does. */
  readonly endpoint: string;
  readonly settings: ElectionSettings;
  /** Told whom to watch, and asked what speaks against the leader. */
  readonly watch: LeaderWatch;
}

/** The election as this node sees it. A standby's view is as old as its last look. */
export interface ElectionState {
  readonly role: "leader" | "standby";
  /** Who leads, this node included; undefined while nobody is known to. */
  readonly leader: Leader | undefined;
  /** The last term of this node, if it is over: who watched this node may be told. */
  readonly resigned: Resigned | undefined;
}

/** The end of a node's own leadership. */
export interface Resigned {
  readonly epoch: number;
  /** The id of the node that shall take over; undefined: any. */
  readonly successor: string | undefined;
}

/** A node's part in the election. */
export interface Election {
  readonly role: "leader" | "standby";
  /** The leader's epoch; 0 while nobody is known to lead. */
  readonly epoch: number;
  readonly leader: Leader | undefined;
  /** The state now. */
  readonly state: ElectionState;
  /** The state now, and each newer one, until `signal` is aborted or the election is closed. */
  changes(signal: AbortSignal): AsyncIterable<ElectionState>;
  /** The fence to write under. Throws `unavailable`, with the leader where one is known, if this node does not lead. */
  fence(): LeaderFence;
  /**
   * Ends this node's leadership, if it leads, at once, and lets others go first: `successor` (a node's id), or any.
   * `reason` is for the log. `forGood`: it only watches from then on who leads, and does so too where it did not lead.
   * Resolves when the lease was given back, or storage did not take it; never rejects.
   */
  resign(reason: string, successor?: string, forGood?: boolean): Promise<void>;
  /**
   * Claims an epoch above `epoch`, the one found on a segment: `cluster/leader` was lost and begun again. The fence so
   * far ends. Does nothing if the own epoch is above it already. Throws `fenced` if the lease is not this node's any
   * more (then the number is a newer leader's), `unavailable` if it does not lead or storage fails.
   */
  claimAbove(epoch: number): Promise<void>;
  /** Resigns and ends. Resolves when storage has answered. */
  close(): Promise<void>;
}

// After a failed attempt, doubled each time up to the second.
const backoffMsFirst = 200;
const backoffMsMax = 2000;
// Where nobody leads, a node that has retired looks again so often who does.
const retiredLookMs = 100;
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
 * rejects where that will not get better by itself: `notFound` (no such container), `denied` (also where leases are not
 * allowed), `unauthenticated`, `invalid`, `corrupt`.
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
  readonly #state: Observable<ElectionState>;
  readonly #outlook: Outlook;
  readonly #backoff: Backoff;
  readonly #meters: ElectionMeters;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #leading: Promise<void> = Promise.resolve();
  #claiming: Promise<void> = Promise.resolve();
  #term: Term | undefined;
  /** Why this node may not lead, for messages. */
  #hindrance: string | undefined;
  #retired = false;

  constructor(options: ElectionOptions) {
    const { clock, watch, nodeId, endpoint, settings } = options;
    this.#options = options;
    this.#self = { nodeId, endpoint };
    this.#state = createObservable<ElectionState>({ role: "standby", leader: undefined, resigned: undefined });
    this.#outlook = createOutlook({ clock, watch, self: this.#self, pollMs: settings.pollMs });
    this.#backoff = createBackoff(clock, backoffMsFirst, backoffMsMax);
    const look = () => ({ leader: this.leader, lease: this.#term?.lease });
    this.#meters = createElectionMeters(options.telemetry ?? noTelemetry, settings.leaseSeconds, look);
  }

  get role() {
    return this.#state.value.role;
  }

  get leader() {
    return this.#state.value.leader;
  }

  get state() {
    return this.#state.value;
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

  async resign(reason: string, successor?: string, forGood = false): Promise<void> {
    this.#retired ||= forGood;
    if (this.#term !== undefined) this.#endTerm(this.#term, reason, true, successor);
    await this.#leading;
  }

  claimAbove(epoch: number): Promise<void> {
    const claiming = this.#claiming.then(() => this.#claimAbove(epoch));
    this.#claiming = claiming.catch(() => undefined);
    return claiming;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.resign("this node is shutting down");
    await this.#running;
    this.#options.watch.follow(undefined);
    this.#meters.close();
    this.#state.close();
  }

  async checkStorage(): Promise<void> {
    const { store, clock, log } = this.#options;
    try {
      await checkControl(store, clock);
    } catch (error) {
      if (!isKind(error, "notFound", "denied", "unauthenticated", "invalid", "corrupt")) {
        log.warn("storage does not answer yet", { storage: store.description, error });
        return;
      }
      if (error.kind === "corrupt") throw error;
      const advice = isKind(error, "notFound") ? "; create the container first, or check its name" : "";
      const message = `cannot use ${store.description}: ${error.message}${advice}`;
      throw new VaultError(error.kind, message, error.detail, error);
    }
  }

  start(): void {
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const waitMs = await this.#campaign();
      await this.#outlook.nextLook(waitMs, this.#closing.signal);
    }
  }

  /** One look and what follows from it, a term included. Resolves to the milliseconds to wait before the next. */
  async #campaign(): Promise<number> {
    try {
      const found = await this.#look();
      const decision = this.#outlook.consider(found);
      this.#show({ role: "standby", leader: this.#outlook.leader, resigned: this.#state.value.resigned });
      if (this.#hindrance !== undefined) return this.#outlook.pollMs();
      if (this.#retired) return decision.cause === undefined ? decision.waitMs : retiredLookMs;
      if (decision.cause === undefined) {
        this.#backoff.reset();
        return decision.waitMs;
      }
      const standing = await this.#meters.takeOver(decision.cause, () => this.#depose(found, decision.cause));
      if (standing === undefined) return this.#backoff.next();
      this.#backoff.reset();
      this.#leading = this.#lead(standing);
      await this.#leading;
      return 0;
    } catch (error) {
      const report = isKind(error, "conflict") ? "debug" : "warn";
      this.#options.log[report]("election attempt failed", { error });
      return this.#backoff.next();
    }
  }

  async #look(): Promise<Control> {
    const { store, clock, settings, log } = this.#options;
    const found = await openControl(store, clock);
    this.#hindrance = describeSkew(found.skewMs, settings.clockSkewMsMax);
    if (this.#hindrance !== undefined) log.error("this node cannot lead", { reason: this.#hindrance });
    return found;
  }

  /** Stands for leadership, after the lease was broken if somebody holds it; undefined where another was first. */
  async #depose(found: Control, cause: FailoverCause): Promise<Standing | undefined> {
    const { store, clock, log, settings } = this.#options;
    if (found.leased && !(await this.#breakLease(found, cause))) return undefined;
    const failover = { cause, gapMs: this.#outlook.silenceMs() };
    const claim: ClaimOptions = { failover, silences: countSilences(found, cause), broke: found.leased };
    const { leaseSeconds } = settings;
    const closing = this.#closing.signal;
    return stand({ store, clock, log, self: this.#self, leaseSeconds, closing }, found, claim);
  }

  /** Resolves to whether nobody holds the lease now. */
  async #breakLease(found: Control, cause: FailoverCause): Promise<boolean> {
    const { store, log } = this.#options;
    try {
      await store.breakLease(controlName, found.etag);
    } catch (error) {
      if (!isKind(error, "conflict")) throw error;
      return error.detail.condition === "lease";
    }
    this.#meters.broke(found.epoch);
    log.warn("broke the leader's lease", { epoch: found.epoch, endpoint: found.claimant?.endpoint, cause });
    return true;
  }

  /** Leads until the term ends, and gives the lease back. Never rejects. */
  async #lead({ lease, control }: Standing): Promise<void> {
    const { clock, log, settings } = this.#options;
    this.#outlook.won();
    if (!this.#closing.signal.aborted && !this.#retired) {
      const term = { lease, control, claim: createFence(control.epoch, lease), ended: new AbortController() };
      this.#term = term;
      this.#showTerm(term);
      const { epoch, breaks, failover } = control;
      this.#meters.won(control);
      log.info("this node leads", { epoch, endpoint: this.#self.endpoint, breaks, ...failover });
      const { renewMs, clockSkewMsMax } = settings;
      const isClaimed = (etag: Etag) => this.#isClaimed(term, etag);
      const loss = await holdLease(lease, { clock, log, renewMs, clockSkewMsMax, isClaimed }, term.ended.signal);
      if (loss !== undefined) this.#endTerm(term, loss, false);
    }
    await this.#meters.handBack(control.epoch, () => release(lease, log));
  }

  async #isClaimed(term: Term, etag: Etag): Promise<boolean> {
    if (etag === term.control.etag) return true;
    // It may be a claim of our own that crossed the renewal.
    await this.#claiming;
    const { store, clock } = this.#options;
    const found = await openControl(store, clock);
    return found.epoch === term.control.epoch && found.claimant?.nodeId === this.#self.nodeId;
  }

  async #claimAbove(epoch: number): Promise<void> {
    const term = this.#term;
    if (term === undefined) this.fence();
    if (term === undefined || term.control.epoch > epoch) return;
    const { store, clock, log } = this.#options;
    const { failover, silences } = term.control;
    const claim = { above: epoch, leaseId: term.lease.id, failover, silences };
    const control = await claimEpoch(store, clock, term.control, this.#self, claim);
    if (control === undefined) this.#endTerm(term, `epoch ${epoch} is a newer leader's`, false);
    if (control === undefined || term.ended.signal.aborted) return term.claim.fence.assertHeld();
    log.warn("claimed an epoch above one found on a segment", { found: epoch, epoch: control.epoch });
    const previous = term.claim;
    term.control = control;
    term.claim = createFence(control.epoch, term.lease);
    previous.end(`this node claimed epoch ${control.epoch}`);
    this.#showTerm(term);
  }

  #endTerm(term: Term, reason: string, resigned: boolean, successor?: string): void {
    if (term.ended.signal.aborted) return;
    const { epoch } = term.control;
    this.#options.log[resigned ? "info" : "warn"]("this node leads no more", { epoch, reason, successor });
    this.#term = undefined;
    if (!resigned) this.#meters.lost();
    this.#outlook.lost(epoch, resigned);
    term.ended.abort();
    term.claim.end(reason);
    this.#show({ role: "standby", leader: undefined, resigned: { epoch, successor } });
  }

  #showTerm(term: Term): void {
    const { epoch, since, failover } = term.control;
    this.#show({ role: "leader", leader: { ...this.#self, epoch, since, failover }, resigned: undefined });
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
