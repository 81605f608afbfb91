/** What is told of a stream's publishes and commits. */
import { VaultError } from "../errors.ts";
import type { Commit } from "../segment/commit.ts";
import type { Span, Telemetry } from "../telemetry.ts";
import type { TraceContext } from "../trace-context.ts";
import type { PublishCommand } from "./commands.ts";

/** A publish that is part of a commit, as far as it is told of. */
interface Member {
  readonly pending: { readonly trace: TraceContext | undefined };
  readonly judgement: { readonly kind: "accepted" | "duplicate" | "refused" };
}

/** A commit under way. */
export interface ToldCommit {
  /** Undefined where it is not recorded. */
  readonly span: Span | undefined;
  /** It was stored. */
  succeed(): void;
  /** It was given up, or what became of it is not known. */
  fail(error: unknown): void;
}

/** Tells of one stream. */
export interface CommitMeters {
  /** A commit is about to be sent. */
  begin(members: readonly Member[], commit: Commit): ToldCommit;
  /** A commit, or the opening of the log for one, is tried again after `error`. */
  retry(error: unknown): void;
  /** A publish was answered: it is stored now, or was stored before. */
  answer(command: PublishCommand, duplicate: boolean): void;
}

/** A span that serves many is linked with so many of them at the most. */
export const linksMax = 32;

const untold: ToldCommit = Object.freeze({ span: undefined, succeed() {}, fail() {} });
const silent: CommitMeters = Object.freeze({ begin: () => untold, retry() {}, answer() {} });

/** Makes what tells of the stream `name`. `monotonic`: the clock, in milliseconds. */
export function createCommitMeters(telemetry: Telemetry, monotonic: () => number, name: string): CommitMeters {
  if (!telemetry.metering && !telemetry.tracing) return silent;
  const values = { "messaging.destination.name": telemetry.streamName(name) };
  const requests = telemetry.counter("messagevault.publish.requests", values);
  const records = telemetry.counter("messagevault.publish.records", values);
  const bytes = telemetry.counter("messagevault.publish.bytes", values);
  const duplicates = telemetry.counter("messagevault.publish.duplicates", values);
  const duration = telemetry.histogram("messagevault.commit.duration");
  const size = telemetry.histogram("messagevault.commit.size");
  const publishes = telemetry.histogram("messagevault.commit.publishes");
  return {
    begin(members, commit) {
      const span = telemetry.tracing ? startSpan(telemetry, name, members, commit) : undefined;
      const startedAt = monotonic();
      const seconds = () => (monotonic() - startedAt) / 1000;
      return {
        span,
        succeed() {
          duration.record(seconds());
          size.record(commit.bytes.byteLength);
          publishes.record(
            members.reduce((count, { judgement }) => count + (judgement.kind === "accepted" ? 1 : 0), 0),
          );
          span?.end();
        },
        fail(error) {
          telemetry.histogram("messagevault.commit.duration", { "error.type": kindOf(error) }).record(seconds());
          span?.end(error);
        },
      };
    },
    retry(error) {
      telemetry.counter("messagevault.commit.retries", { "error.type": kindOf(error) }).add(1);
    },
    answer({ batch }, duplicate) {
      if (duplicate) {
        duplicates.add(1);
        return;
      }
      requests.add(1);
      records.add(batch.count);
      bytes.add(batch.storedBytes);
    },
  };
}

/** A child of the first publish that is recorded, and linked with all of them. */
function startSpan(telemetry: Telemetry, name: string, members: readonly Member[], commit: Commit): Span | undefined {
  const links: TraceContext[] = [];
  for (const { pending, judgement } of members) {
    if (pending.trace === undefined || judgement.kind !== "accepted") continue;
    links.push(pending.trace);
    if (links.length === linksMax) break;
  }
  const parent = links[0];
  if (parent === undefined) return undefined;
  const attributes = {
    "messaging.system.name": "message_vault",
    "messaging.operation.name": "commit",
    "messaging.destination.name": name,
    "messaging.batch.message_count": Number(commit.nextOffset - commit.firstOffset),
    "messagevault.offset.first": Number(commit.firstOffset),
    "messagevault.commit.size": commit.bytes.byteLength,
    "messagevault.commit.publishes": members.length,
  };
  return telemetry.startSpan("commit", { subject: name, parent, links, attributes });
}

function kindOf(error: unknown): string {
  if (error instanceof VaultError) return error.kind;
  return "_OTHER";
}
