/** Clients that ask about streams and change them: create, trim, delete, settings, who leads. */
import { ClusterService } from "../../gen/messagevault/v1/cluster_pb.ts";
import { StreamService } from "../../gen/messagevault/v1/stream_pb.ts";
import type { VaultError } from "../../src/errors.ts";
import type { Client } from "./client.ts";
import { type ReadStart, readToTail } from "./subscribers.ts";

/** Asks for a stream's end and notes it. Resolves to its bounds; undefined where it failed. */
export async function lookAtTail(
  client: Client,
  stream: string,
): Promise<{ firstOffset: number; nextOffset: number; incarnation: string } | undefined> {
  const calledAt = client.now;
  try {
    const { stream: found } = await client.call(StreamService.method.getStream, { name: stream });
    const { incarnation, firstOffset, nextOffset } = found!;
    const noted = { client: client.name, stream, incarnation, calledAt, endedAt: client.now };
    client.history.push({ op: "tail", ...noted, outcome: "ok", nextOffset: Number(nextOffset) });
    return { incarnation, firstOffset: Number(firstOffset), nextOffset: Number(nextOffset) };
  } catch (error) {
    expectKinds(client, client.failure(error), "notFound");
    return undefined;
  }
}

/** What may fail with, beside what failovers and overload bring. */
function expectKinds(client: Client, error: VaultError, ...kinds: readonly VaultError["kind"][]): void {
  if (["unavailable", "indeterminate", "overloaded", ...kinds].includes(error.kind)) return;
  client.violate("status", `${client.name}: ${error.kind}: ${error.message}`);
}

/** Looks at streams in every way, `count` times. */
export async function look(client: Client, streams: readonly string[], count: number, pauseMs: number): Promise<void> {
  const starts: readonly ReadStart[] = ["earliest", "latest", "last", "timestamp"];
  for (let i = 0; i < count && !client.stopping.aborted; i++) {
    const stream = streams[Math.floor(client.random() * streams.length)]!;
    const dice = client.random();
    if (dice < 0.5) await lookAtTail(client, stream);
    else if (dice < 0.9) await readToTail(client, stream, starts[Math.floor(client.random() * starts.length)]!);
    else await askAround(client, stream);
    // The next question goes to another node, often.
    if (client.random() < 0.5) client.moveOn();
    await client.pause(2 * client.random() * pauseMs);
  }
}

async function askAround(client: Client, stream: string): Promise<void> {
  try {
    await client.call(ClusterService.method.getCluster, {});
    await client.call(StreamService.method.listStreams, { prefix: stream.slice(0, 1) });
    await client.call(StreamService.method.getReadAccess, { name: stream });
  } catch (error) {
    expectKinds(client, client.failure(error), "notFound", "outOfRange");
  }
}

/** Trims `trimmed`, deletes `deleted`, and changes settings, `count` times in all. */
export async function change(
  client: Client,
  trimmed: string,
  deleted: string,
  count: number,
  pauseMs: number,
): Promise<void> {
  for (let i = 0; i < count && !client.stopping.aborted; i++) {
    const dice = client.random();
    if (dice < 0.35) await trim(client, trimmed);
    else if (dice < 0.55) await trim(client, deleted);
    else if (dice < 0.75) await remove(client, deleted);
    else if (dice < 0.9) await updateSettings(client, trimmed);
    else await make(client, deleted);
    await client.pause(2 * client.random() * pauseMs);
  }
}

async function trim(client: Client, stream: string): Promise<void> {
  const found = await lookAtTail(client, stream);
  if (found === undefined) return;
  const { firstOffset, nextOffset, incarnation } = found;
  const before = firstOffset + Math.floor((nextOffset - firstOffset) * client.random());
  const noted = { op: "trim", client: client.name, stream, incarnation, calledAt: client.now } as const;
  try {
    const request = { name: stream, before: { case: "offset", value: BigInt(before) } } as const;
    const response = await client.call(StreamService.method.trimStream, request);
    client.history.push({ ...noted, endedAt: client.now, outcome: "ok", firstOffset: Number(response.firstOffset) });
  } catch (error) {
    // Of a stream that was made anew meanwhile the offset may be beyond the end.
    expectKinds(client, client.failure(error), "notFound", "outOfRange");
    client.history.push({ ...noted, outcome: "unknown", firstOffset: before });
  }
}

async function remove(client: Client, stream: string): Promise<void> {
  const noted = { op: "delete", client: client.name, stream, calledAt: client.now } as const;
  try {
    await client.call(StreamService.method.deleteStream, { name: stream });
    client.history.push({ ...noted, endedAt: client.now, outcome: "ok" });
  } catch (error) {
    expectKinds(client, client.failure(error), "notFound");
    client.history.push({ ...noted, outcome: "unknown" });
  }
}

async function updateSettings(client: Client, name: string): Promise<void> {
  try {
    const segmentAge = { seconds: BigInt(5 + Math.floor(60 * client.random())), nanos: 0 };
    const retentionBytes = client.random() < 0.5 ? 0n : BigInt(50_000 + Math.floor(100_000 * client.random()));
    const paths = ["segment_age", "retention_bytes"];
    await client.call(StreamService.method.updateStream, {
      name,
      settings: { segmentAge, retentionBytes },
      updateMask: { paths },
    });
  } catch (error) {
    expectKinds(client, client.failure(error), "notFound");
  }
}

async function make(client: Client, name: string): Promise<void> {
  try {
    await client.call(StreamService.method.createStream, { name });
  } catch (error) {
    expectKinds(client, client.failure(error), "alreadyExists");
  }
}

/** Hands leadership over, to `node` (an endpoint) or to any. */
export async function transfer(client: Client, node: string): Promise<void> {
  try {
    await client.call(ClusterService.method.transferLeadership, { node }, 15_000);
  } catch (error) {
    expectKinds(client, client.failure(error), "conflict");
  }
}
