/**
 * One subscription: from its start it catches up and follows the tail.
 *
 * It holds an offset, not a queue: each turn of the loop reads what stands at the offset, and the loop turns when the
 * transport has taken the last delivery. So a slow subscriber costs no memory, and there is no seam between catching up
 * and following: both are "the frames from this offset on".
 */
import { type Clock, sleep } from "../clock.ts";
import { isKind, type VaultError } from "../errors.ts";
import { lend, type Loan } from "../segment/byte-cache.ts";
import { collectRecords, type Plan, type Reach } from "./collect-records.ts";
import type { Delivery, End, Start, SubscribeCommand } from "./commands.ts";
import { wrongIncarnation } from "./judge.ts";
import { streamNotFound } from "./metadata.ts";
import type { Standing } from "./subscription-meters.ts";
import { outOfRange, type StreamView, transientKinds, type ViewSource } from "./stream-view.ts";

/** A read that fails is tried again after this long, doubled each time, with jitter; for so long in all. */
const retryMsFirst = 50;
const retryMsMax = 2000;
const failingMsMax = 60_000;

/** Where a subscription stands. */
interface Progress extends Reach {
  /** Whether the tail was asked for since the subscription began: what was caught up before that may be old. */
  tailChecked: boolean;
  saidFirst: boolean;
  saidCaughtUp: boolean;
  /** When the last response went out, by the monotonic clock. */
  quietSince: number;
  /** How often in a row reading has failed, and when it did first, by the monotonic clock. */
  failures: number;
  failingSince: number;
  readonly incarnation: string;
  /** The tail as it was told last. */
  tailOffset: bigint;
  tailTimestamp: number | undefined;
}

/** What one turn of a subscription's loop comes to. */
interface Turn {
  readonly delivery: Delivery | undefined;
  readonly over: boolean;
  /** Whether to wait for something new. */
  readonly idle: boolean;
}

/** What stays the same of a subscription. */
interface Subscription {
  readonly source: ViewSource;
  readonly command: SubscribeCommand;
  readonly clock: Clock;
  readonly responseBytes: number;
  readonly signal: AbortSignal;
  /** Counts it, and makes where it stands for those who look. Throws where there are too many. */
  readonly begin: () => Standing;
  readonly end: (standing: Standing) => void;
}

/**
 * Reads a stream as `command` says. Ends at the requested end, when `signal` is aborted, or by throwing; where a view
 * has moved it goes on with the next one, from the same offset.
 */
export async function* subscribe(subscription: Subscription): AsyncGenerator<Delivery> {
  const { source, clock, signal, command } = subscription;
  const standing = subscription.begin();
  let view: StreamView | undefined;
  try {
    view = await source.take();
    standing.view = view;
    const { incarnation } = view;
    if (command.incarnation !== undefined && command.incarnation !== incarnation) {
      throw wrongIncarnation(view.name, command.incarnation, incarnation);
    }
    let begun: { plan: Plan; progress: Progress } | undefined;
    while (!signal.aborted) {
      let turn: Turn | undefined;
      const before = begun && reachOf(begun.progress);
      try {
        if (begun === undefined) {
          begun = await begin(subscription, view);
          standing.progress = begun.progress;
          continue;
        }
        if (!view.moved) turn = await readTurn(subscription, view, begun.plan, begun.progress);
      } catch (error) {
        // What was read is not delivered: it stands where it stood.
        if (begun !== undefined && before !== undefined) Object.assign(begun.progress, before);
        // What an old leader finds wrong is the next view's to judge.
        if (!view.moved) {
          if (begun === undefined) throw error;
          yield* goOn(subscription, view, begun.progress, error);
          continue;
        }
      }
      if (turn === undefined || begun === undefined) {
        const next = yield* changeView(subscription, begun?.progress);
        if (next === undefined) return;
        source.giveBack(view);
        view = next;
        standing.view = view;
        // The stream was deleted, and made again.
        if (view.incarnation !== incarnation) throw streamNotFound(view.name);
        continue;
      }
      begun.progress.failures = 0;
      if (turn.delivery !== undefined) {
        const { payload } = turn.delivery;
        if (payload.length > 0) standing.send(payload, begun.progress.taken - (before?.taken ?? 0));
        yield turn.delivery;
        begun.progress.quietSince = clock.monotonic();
      }
      if (turn.over) return;
      if (turn.idle) await waitForNews(subscription, view, begun.plan, begun.progress);
    }
  } finally {
    if (view !== undefined) source.giveBack(view);
    subscription.end(standing);
  }
}

/** Finds where the subscription begins. */
async function begin(subscription: Subscription, view: StreamView): Promise<{ plan: Plan; progress: Progress }> {
  const { command, clock, responseBytes } = subscription;
  const { start, end, keyPrefix } = command;
  const atTail = start.at === "latest" || start.at === "last" || end.at === "tail";
  const beyond = start.at === "offset" && (start.offset < view.startOffset || start.offset > view.nextOffset);
  const tailChecked = atTail || beyond;
  if (tailChecked) await view.checkTail();
  const offset = await startOffset(view, start);
  const plan = {
    fromTimestamp: start.at === "timestamp" ? start.timestamp : 0,
    untilOffset: end.at === "offset" ? end.offset : end.at === "tail" ? view.nextOffset : undefined,
    untilTimestamp: end.at === "timestamp" ? end.timestamp : undefined,
    keyPrefix,
    responseBytes,
  };
  const remaining = countOf(end);
  const quietSince = clock.monotonic();
  const { incarnation, nextOffset: tailOffset, lastTimestamp: tailTimestamp } = view;
  const said = { saidFirst: false, saidCaughtUp: false, quietSince, incarnation, tailOffset, tailTimestamp };
  const failed = { failures: 0, failingSince: 0 };
  return {
    plan,
    progress: { offset, remaining, taken: 0, timestamp: undefined, ended: false, tailChecked, ...said, ...failed },
  };
}

/** Reads what stands at the offset. */
async function readTurn(subscription: Subscription, view: StreamView, plan: Plan, progress: Progress): Promise<Turn> {
  const { clock, command } = subscription;
  view.assertOpen();
  const more = !isOver(view, plan, progress) && progress.offset < view.nextOffset;
  const records = more ? await collectRecords(view, plan, progress) : lend([]);
  if (!progress.tailChecked && progress.offset >= view.nextOffset && !isOver(view, plan, progress)) {
    await view.checkTail();
    progress.tailChecked = true;
  }
  const over = isOver(view, plan, progress);
  const caughtUp = progress.offset >= view.nextOffset;
  const silentMs = clock.monotonic() - progress.quietSince;
  const heartbeat = records.value.length === 0;
  const due = !progress.saidFirst || over || silentMs >= command.heartbeatMs;
  const says = !heartbeat || due || (caughtUp && !progress.saidCaughtUp);
  // A filter that matches nothing reads on and on: others must have their turns.
  if (more && heartbeat) await clock.turn();
  const delivery = says ? deliveryOf(view, progress, records, caughtUp, !progress.saidFirst || heartbeat) : undefined;
  if (delivery !== undefined) {
    progress.saidFirst = true;
    progress.saidCaughtUp = caughtUp;
    progress.tailOffset = delivery.tailOffset;
    progress.tailTimestamp = delivery.tailTimestamp;
  }
  return { delivery, over, idle: caughtUp };
}

/** Resolves when there is something new, or to say; undefined where there is at once. */
function waitForNews(
  { clock, command, signal }: Subscription,
  view: StreamView,
  plan: Plan,
  progress: Progress,
): Promise<void> | undefined {
  // There may be news since the delivery, which took its time.
  if (view.moved || progress.offset < view.nextOffset || isOver(view, plan, progress)) return undefined;
  const untilHeartbeat = Math.max(0, command.heartbeatMs - (clock.monotonic() - progress.quietSince));
  return view.waitForChange(Math.min(untilHeartbeat, untilEnd(plan, clock)), signal);
}

/** Sees to it that reading, which failed with `error`, can go on. Throws it where that is not to be. */
async function* goOn(
  subscription: Subscription,
  view: StreamView,
  progress: Progress,
  error: unknown,
): AsyncGenerator<Delivery> {
  const isNamed = subscription.command.start.at === "offset";
  if (isKind(error, "outOfRange") && !isNamed && !progress.saidFirst && progress.offset < view.startOffset) {
    // Trimmed before the subscriber, who named no offset, was told where it begins: it begins with what is left.
    progress.offset = view.startOffset;
    return;
  }
  if (view.ended || !isKind(error, ...transientKinds)) throw error;
  yield* waitForStorage(subscription, progress, error);
}

/** Waits until a read that failed with `error` may be tried again. Throws it where that has gone on for too long. */
async function* waitForStorage(
  { clock, command, signal }: Subscription,
  progress: Progress,
  error: VaultError,
): AsyncGenerator<Delivery> {
  const now = clock.monotonic();
  if (progress.failures++ === 0) progress.failingSince = now;
  if (now - progress.failingSince > failingMsMax) throw error;
  const delayMs = Math.min(retryMsFirst * 2 ** (progress.failures - 1), retryMsMax);
  await sleep(clock, delayMs * (0.5 + clock.random()), signal);
  if (!signal.aborted && clock.monotonic() - progress.quietSince >= command.heartbeatMs) {
    yield heartbeatOf(progress, clock);
  }
}

/** What was known last: a heartbeat for while nothing can be read. */
function heartbeatOf(progress: Progress, clock: Clock): Delivery {
  const { offset: nextOffset, tailOffset, tailTimestamp, incarnation } = progress;
  progress.saidFirst = true;
  progress.saidCaughtUp = false;
  progress.quietSince = clock.monotonic();
  // What a filter passed over since was not told.
  const tail = tailOffset > nextOffset ? tailOffset : nextOffset;
  const completeUntil = undefined;
  return { payload: [], nextOffset, tailOffset: tail, tailTimestamp, completeUntil, caughtUp: false, incarnation };
}

/**
 * Takes the view that comes next. Until it is there the subscription gets heartbeats, with what was known last. Undefined
 * where the subscription was aborted.
 */
async function* changeView(
  { source, clock, command, signal }: Subscription,
  progress: Progress | undefined,
): AsyncGenerator<Delivery, StreamView | undefined> {
  const taking = source.retake(signal);
  const state = { settled: false };
  const settle = () => {
    state.settled = true;
  };
  const settling = taking.then(settle, settle);
  let taken = false;
  try {
    while (!state.settled && !signal.aborted) {
      const quietSince = progress?.quietSince ?? clock.monotonic();
      const awake = new AbortController();
      const heartbeatDue = sleep(clock, quietSince + command.heartbeatMs - clock.monotonic(), awake.signal);
      await Promise.race([settling, heartbeatDue]);
      awake.abort();
      if (state.settled || signal.aborted || progress === undefined) continue;
      yield heartbeatOf(progress, clock);
    }
    if (signal.aborted) return undefined;
    const view = await taking;
    taken = true;
    return view;
  } finally {
    if (!taken) void taking.then((view) => source.giveBack(view)).catch(() => undefined);
  }
}

async function startOffset(view: StreamView, start: Start): Promise<bigint> {
  const { startOffset: first, nextOffset: next } = view;
  switch (start.at) {
    case "earliest":
      return first;
    case "latest":
      return next;
    case "last":
      return next - first > start.count ? next - start.count : first;
    case "timestamp":
      return view.offsetAt(start.timestamp);
    case "offset":
      if (start.offset < first || start.offset > next) throw outOfRange(view, start.offset);
      return start.offset;
  }
}

function reachOf({ offset, remaining, taken, timestamp, ended }: Reach): Reach {
  return { offset, remaining, taken, timestamp, ended };
}

function countOf(end: End): number {
  return end.at === "count" ? Number(end.count) : Infinity;
}

function isOver(view: StreamView, plan: Plan, progress: Progress): boolean {
  if (progress.ended || progress.remaining <= 0) return true;
  if (plan.untilOffset !== undefined) return progress.offset >= plan.untilOffset;
  // At the tail, a time that has passed cannot get records any more.
  const { untilTimestamp } = plan;
  return untilTimestamp !== undefined && progress.offset >= view.nextOffset && view.isSettled(untilTimestamp);
}

/** How long to wait at the most until a requested end by time can be over, in milliseconds. */
function untilEnd(plan: Plan, clock: Clock): number {
  if (plan.untilTimestamp === undefined) return Infinity;
  return Math.max(busyWaitMs, plan.untilTimestamp - clock.now());
}

/** A commit that is under way when the end's time comes is waited for in steps of this. */
const busyWaitMs = 10;

function deliveryOf(
  view: StreamView,
  progress: Progress,
  { value: payload, giveBack }: Loan<readonly Uint8Array[]>,
  caughtUp: boolean,
  identify: boolean,
): Delivery {
  const { offset: nextOffset } = progress;
  return {
    payload,
    giveBack,
    nextOffset,
    // A view that was just taken may not have read on yet to where the one before it was.
    tailOffset: view.nextOffset > nextOffset ? view.nextOffset : nextOffset,
    tailTimestamp: view.lastTimestamp,
    completeUntil: view.completeUntil,
    caughtUp,
    incarnation: identify ? view.incarnation : undefined,
  };
}
