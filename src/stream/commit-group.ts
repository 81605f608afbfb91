/** Publishes that are judged together and go out in one commit. */
import type { Commit } from "../segment/commit.ts";
import type { ProducerDraft } from "../segment/producers.ts";
import { judge, type Judgement } from "./judge.ts";
import { contentBytesOf, type Pending } from "./publish-queue.ts";
import type { StreamLog } from "./stream-log.ts";

/** A publish, and what becomes of it. */
export interface Member {
  readonly pending: Pending;
  readonly judgement: Judgement;
}

/** Publishes that were judged together, in order. */
export interface Group {
  readonly log: StreamLog;
  /** Where the log must end for it, and the offset that the log must have there. */
  readonly position: number;
  readonly firstOffset: bigint;
  /** When it was judged, by the monotonic clock. */
  readonly builtAt: number;
  readonly members: readonly Member[];
  /** What the log's producers do not know yet: to be applied when the group's turn comes. */
  readonly producers: ProducerDraft;
  /** Undefined where nothing is to be written. */
  readonly commit: Commit | undefined;
}

/**
 * Judges publishes and builds their commit at the log's end, or behind `after`, which is under way. Changes nothing else.
 * `builtAt`: the time by the monotonic clock.
 */
export function buildGroup(log: StreamLog, publishes: readonly Pending[], builtAt: number, after?: Commit): Group {
  const builder = log.beginCommit(contentBytesOf(publishes), after);
  const { timestamp, nextOffset: firstOffset } = builder;
  const position = after?.endPosition ?? log.writer.position;
  const producers = log.producers.draft(timestamp);
  const judged = { incarnation: log.incarnation, producers };
  const members = publishes.map((pending) => {
    const { command } = pending;
    const judgement = judge(judged, builder.nextOffset, timestamp, command);
    if (judgement.kind === "accepted") builder.add(command.batch, command.producer);
    return { pending, judgement };
  });
  const accepted = members.some((member) => member.judgement.kind === "accepted");
  return { log, position, firstOffset, builtAt, members, producers, commit: accepted ? builder.finish() : undefined };
}

/** Whether `log` ends where the group begins: then it is what it was judged against. */
export function continues(group: Group, log: StreamLog): boolean {
  return group.log === log && log.writer.position === group.position && log.nextOffset === group.firstOffset;
}
