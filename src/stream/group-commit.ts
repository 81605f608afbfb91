/**
 * Putting publishes in order and writing them together.
 *
 * At most one write is in flight per stream. While it is, publishes queue; then they all go out in one commit. Offsets,
 * expected offsets and sequences are judged when a commit is built, and every answer, refusals and duplicates included,
 * waits until what it was judged against is durable.
 *
 * Where more is queued than a commit takes, the next one is built while the write is in flight, against the end that the
 * write leaves behind. Its publishes stay in the queue until its turn comes; then it is written if the log ends where it
 * begins, and it was built just now; else it is built anew. After a write that failed it is thrown away.
 *
 * A write ends in one of these ways:
 * - it succeeded: everything in it is answered.
 * - storage refused it for now (`overloaded`, `unavailable`): nothing was written, the same bytes are sent again.
 * - anything else leaves open what storage holds: the log is opened again, which fences every earlier attempt, and
 *   then the commit is there or it is not. What is not goes back to the head of the queue.
 *
 * Invariants: `queue` is in the order of the calls; a publish is answered exactly once, and its bytes are given back to
 * the budget then; at most one of commits and actions is under way; what the log holds in memory knows nothing of a commit
 * that is built and not under way; the members of `prepared` are the first of the queue, and while it is there nothing is
 * built behind what is in flight.
 */
import assert from "node:assert";
import { pageBytes } from "../blob/blob-store.ts";
import { sleep } from "../clock.ts";
import { type ErrorKind, isKind, VaultError } from "../errors.ts";
import type { Commit } from "../segment/commit.ts";
import { buildGroup, continues, type Group, type Member } from "./commit-group.ts";
import { type CommitMeters, createCommitMeters } from "./commit-meters.ts";
import type { PublishCommand, PublishResult, StreamSettings } from "./commands.ts";
import type { Engine } from "./engine.ts";
import type { PendingBudget } from "./pending-budget.ts";
import { contentBytesOf, measureContent, type Pending, PublishQueue } from "./publish-queue.ts";
import type { StreamLog } from "./stream-log.ts";

/** What the committer needs of its stream. */
export interface CommitTarget {
  readonly name: string;
  readonly settings: StreamSettings;
  /** Whether the stream's use on this node has ended: then nothing is tried again. */
  readonly ended: boolean;
  readonly pending: PendingBudget;
  /** The log; opened where it is not. */
  openLog(): Promise<StreamLog>;
  /** Drops the log, so that the next use opens it again. */
  dropLog(): void;
  /** Makes an acknowledged commit visible to readers. */
  committed(log: StreamLog, commit: Commit): void;
}

interface Action {
  /** Runs when this publish and those before it are answered. */
  readonly after: number;
  readonly run: () => Promise<void>;
}

/** A commit that is under way, and how much the next one may carry. */
interface InFlight {
  readonly log: StreamLog;
  readonly commit: Commit;
  readonly contentBytesMax: number;
}

/**
 * How long ago a commit may have been built, in milliseconds. Its timestamp is as old, and who follows the stream by storage
 * alone waits for a second only until a time counts as over (`followed-stream.ts`).
 */
const preparedMsMax = 250;

/** Refused writes and openings are tried again after this long, doubled each time, with jitter. */
const retryMsFirst = 50;
const retryMsMax = 2000;

/** The committer of one stream. */
export class GroupCommit {
  private readonly engine: Engine;
  private readonly target: CommitTarget;
  private readonly meters: CommitMeters;
  private readonly queue = new PublishQueue();
  /** The commit whose write is in flight, as long as the next one may be built behind it. */
  private inFlight: InFlight | undefined;
  /** The next commit, built while the last is in flight. */
  private prepared: Group | undefined;
  private actions: Action[] = [];
  private published = 0;
  private running = false;
  /** How long to wait before what storage did not take is sent again: at first not at all. */
  private resendMs = 0;

  constructor(engine: Engine, target: CommitTarget) {
    this.engine = engine;
    this.target = target;
    this.meters = createCommitMeters(engine.telemetry, engine.clock.monotonic, target.name);
  }

  /** Whether something is queued or under way. */
  get busy(): boolean {
    return this.running;
  }

  /** Appends a batch; resolves when it is durable. */
  publish(command: PublishCommand): Promise<PublishResult> {
    return new Promise((resolve, reject) => {
      this.target.pending.take(command.batch.storedBytes);
      const trace = this.engine.telemetry.active?.context;
      const contentBytes = measureContent(command);
      const number = ++this.published;
      this.queue.push({ number, command, contentBytes, trace, giveUpAt: undefined, resolve, reject });
      this.start();
      this.prepare();
    });
  }

  /**
   * Runs `action` when all that was published before is answered, and while no commit is under way: for rolls, deletion
   * and the like. If it fails the log is dropped, as what storage holds is then not known.
   */
  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = async () => {
        try {
          resolve(await action());
        } catch (error) {
          this.target.dropLog();
          reject(error);
        }
      };
      this.actions.push({ after: this.published, run });
      this.start();
    });
  }

  private start(): void {
    if (this.running) return;
    this.running = true;
    // What follows is for all that come, and no part of the call that was first.
    void this.engine.telemetry.within(undefined, () => this.run());
  }

  private async run(): Promise<void> {
    while (this.queue.length > 0 || this.actions.length > 0) {
      const action = this.actions[0];
      const { first } = this.queue;
      if (action !== undefined && (first === undefined || first.number > action.after)) {
        this.actions.shift();
        await action.run();
      } else {
        await this.commitNext();
      }
    }
    this.running = false;
  }

  private async commitNext(): Promise<void> {
    const { lingerMs, commitBytesMax } = this.engine.settings;
    const isFull = this.prepared !== undefined || this.queue.contentBytes >= commitBytesMax;
    if (lingerMs > 0 && !isFull) await sleep(this.engine.clock, lingerMs);
    let log: StreamLog;
    try {
      log = await this.ready();
    } catch (error) {
      // Nothing of what is queued was sent.
      this.prepared = undefined;
      this.fail(this.queue.take(), notStored(this.target.name, error));
      return;
    }
    const group = this.takeGroup(log);
    if (group === undefined) return;
    try {
      if (group.commit !== undefined) await this.write(log, group, group.commit);
      else if (group.members.some(({ judgement }) => judgement.kind === "refused")) await this.confirm(log);
    } catch (error) {
      this.target.dropLog();
      this.prepared = undefined;
      await this.recover(log, group, error);
      return;
    }
    for (const member of group.members) this.answer(member);
  }

  /** The log, open and with room for what comes next. Tried again while that can help. */
  private ready(): Promise<StreamLog> {
    return this.persist(transientKinds, async () => {
      const log = await this.target.openLog();
      // What comes while storage wants nothing of this stream goes into the next commit.
      if (this.engine.store.turn !== undefined) await this.engine.store.turn(log.openSegment.blob);
      const bytes = contentBytesOf(this.queue.head(this.contentBytesMax));
      try {
        if (log.rollDue(bytes, this.target.settings)) await log.roll(this.target.settings);
      } catch (error) {
        this.target.dropLog();
        throw error;
      }
      return log;
    });
  }

  /** What the publishes of a commit may take: it fits a write, with the rest of the page before it, and a segment. */
  private get contentBytesMax(): number {
    return Math.min(this.engine.settings.commitBytesMax, this.target.settings.segmentBytes) - pageBytes;
  }

  /** Takes the next commit's publishes out of the queue; undefined where they failed. */
  private takeGroup(log: StreamLog): Group | undefined {
    const prepared = this.takePrepared(log);
    const taken = prepared ? this.queue.take(prepared.members.length) : this.queue.takeHead(this.contentBytesMax);
    try {
      const group = prepared ?? buildGroup(log, taken, this.engine.clock.monotonic());
      assert(taken[0] === group.members[0]!.pending);
      // Without a commit the producers stay as they are: what they are follows from the frames alone.
      if (group.commit !== undefined) group.producers.apply();
      return group;
    } catch (error) {
      // A fault of our own: nothing was sent, and what the log holds in memory is not to be trusted.
      this.target.dropLog();
      this.fail(taken, notStored(this.target.name, error));
      return undefined;
    }
  }

  /** What was prepared, if that is still what comes next. */
  private takePrepared(log: StreamLog): Group | undefined {
    const { prepared } = this;
    this.prepared = undefined;
    if (prepared === undefined || !continues(prepared, log)) return undefined;
    return this.engine.clock.monotonic() - prepared.builtAt <= preparedMsMax ? prepared : undefined;
  }

  /** Builds the next commit while one is in flight, once more is queued than it takes: nothing better can come then. */
  private prepare(): void {
    const { inFlight, queue } = this;
    if (inFlight === undefined || queue.contentBytes <= inFlight.contentBytesMax) return;
    const { log, commit } = inFlight;
    // Once behind each write: the head of the queue is settled now, and so is whether it fits the segment.
    this.inFlight = undefined;
    try {
      const next = queue.head(inFlight.contentBytesMax);
      if (log.rollDue(contentBytesOf(next), this.target.settings, commit.endPosition)) return;
      this.prepared = buildGroup(log, next, this.engine.clock.monotonic(), commit);
    } catch (error) {
      // A fault of our own. It is dealt with when their turn comes.
      this.engine.log.warn("commit not prepared", { stream: this.target.name, error });
    }
  }

  /** Prepares the next commit when the write of this one is on its way. */
  private async prepareBehind(log: StreamLog, commit: Commit): Promise<void> {
    const inFlight = { log, commit, contentBytesMax: this.contentBytesMax };
    this.inFlight = inFlight;
    await this.engine.clock.turn();
    if (this.inFlight === inFlight) this.prepare();
  }

  /** Writes a commit. Where storage refuses it for now the same bytes are sent again: nothing has changed. */
  private async write(log: StreamLog, { members }: Group, commit: Commit): Promise<void> {
    const told = this.meters.begin(members, commit);
    try {
      const append = () => log.append(commit);
      void this.prepareBehind(log, commit);
      await this.persist(["overloaded", "unavailable"], () => this.engine.telemetry.within(told.span, append));
    } catch (error) {
      const { telemetry, log: events } = this.engine;
      telemetry.within(told.span, () => events.warn("commit failed", { stream: this.target.name, error }));
      told.fail(error);
      throw error;
    } finally {
      this.inFlight = undefined;
    }
    told.succeed();
    this.resendMs = 0;
    this.target.committed(log, commit);
  }

  /** A refusal is true only if nobody else has written since: a leader that was deposed need not know of it yet. */
  private confirm(log: StreamLog): Promise<void> {
    return this.persist(["overloaded", "unavailable"], () => log.assertCurrent());
  }

  /** Decides what became of a group whose write failed. */
  private async recover(log: StreamLog, group: Group, cause: unknown): Promise<void> {
    const taken = group.members.map((member) => member.pending);
    if (group.commit === undefined) {
      this.engine.log.warn("refusal not confirmed", { stream: this.target.name, error: cause });
    }
    if (isKind(cause, "fenced")) {
      // Not sent. If this node leads on, under another epoch, it can be.
      this.queue.putBack(taken);
    } else if (isKind(cause, "overloaded", "unavailable")) {
      this.fail(taken, notStored(this.target.name, cause));
    } else {
      await this.settle(log.fence.epoch, group);
    }
  }

  /**
   * Opens the log again: under the same epoch, and with all earlier attempts fenced, what the log holds up to its end
   * is what was stored. Under another one somebody else may have written meanwhile, so the outcome stays unknown.
   */
  private async settle(epoch: number, group: Group): Promise<void> {
    let reopened: StreamLog;
    try {
      reopened = await this.ready();
      if (reopened.fence.epoch !== epoch) throw new VaultError("fenced", `epoch ${epoch} is over`);
    } catch (error) {
      for (const { pending, judgement } of group.members) {
        const sent = judgement.kind === "accepted";
        this.fail([pending], sent ? outcomeUnknown(this.target.name, error) : notStored(this.target.name, error));
      }
      return;
    }
    const now = this.engine.clock.monotonic();
    const again: Pending[] = [];
    for (const member of group.members) {
      const { pending, judgement } = member;
      const stored = judgement.kind === "accepted" && judgement.result.nextOffset <= reopened.nextOffset;
      pending.giveUpAt ??= now + this.engine.settings.settleMs;
      if (stored) this.answer(member);
      else if (now > pending.giveUpAt) this.fail([pending], notStored(this.target.name));
      else again.push(pending);
    }
    this.queue.putBack(again);
    if (again.length > 0) await this.pause();
  }

  private async pause(): Promise<void> {
    const { clock } = this.engine;
    const delayMs = this.resendMs * (0.5 + clock.random());
    this.resendMs = Math.min(Math.max(this.resendMs * 2, retryMsFirst), retryMsMax);
    if (delayMs > 0) await sleep(clock, delayMs);
  }

  /**
   * Tries again, with growing pauses, while the error is of one of `kinds`. Gives up after `settleMs`, and at once where
   * this node does not lead.
   */
  private async persist<T>(kinds: readonly ErrorKind[], attempt: () => Promise<T>): Promise<T> {
    const { clock, settings, leadership } = this.engine;
    const giveUpAt = clock.monotonic() + settings.settleMs;
    for (let delayMs = retryMsFirst; ; delayMs = Math.min(delayMs * 2, retryMsMax)) {
      try {
        return await attempt();
      } catch (error) {
        if (this.target.ended || !isKind(error, ...kinds) || clock.monotonic() > giveUpAt) throw error;
        leadership.fence();
        this.meters.retry(error);
        await sleep(clock, delayMs * (0.5 + clock.random()));
      }
    }
  }

  private answer({ pending, judgement }: Member): void {
    this.target.pending.giveBack(pending.command.batch.storedBytes);
    if (judgement.kind === "refused") pending.reject(judgement.error);
    else {
      this.meters.answer(pending.command, judgement.kind === "duplicate");
      pending.resolve(judgement.result);
    }
  }

  private fail(failed: readonly Pending[], error: VaultError): void {
    for (const pending of failed) {
      this.target.pending.giveBack(pending.command.batch.storedBytes);
      pending.reject(error);
    }
  }
}

/** What a log may fail to open or to roll with although the next try can succeed. */
const transientKinds: readonly ErrorKind[] = ["overloaded", "unavailable", "indeterminate", "conflict", "fenced"];

function notStored(stream: string, cause?: unknown): VaultError {
  if (isKind(cause, "notFound", "corrupt", "denied", "unauthenticated", "invalid")) return cause;
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  const leader = cause instanceof VaultError ? cause.detail.leader : undefined;
  const detail = { resource: stream, retryAfterMs: retryMsMax, ...(leader === undefined ? {} : { leader }) };
  return new VaultError("unavailable", `nothing was stored in ${stream}${reason}`, detail, cause);
}

function outcomeUnknown(stream: string, cause: unknown): VaultError {
  const message = `it is not known whether the batch was stored in ${stream}; send it again under the same sequence`;
  return new VaultError("indeterminate", message, { resource: stream }, cause);
}
