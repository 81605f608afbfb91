/** Clients that publish: each attempt is noted, with what was learned of its outcome. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { VaultService } from "../../gen/messagevault/v1/vault_pb.ts";
import type { PublishResponse } from "../../gen/messagevault/v1/vault_pb.ts";
import type { VaultError } from "../../src/errors.ts";
import type { Client } from "./client.ts";
import type { Append } from "./history.ts";
import { type Batch, createBatch } from "./records.ts";

/** How a client publishes. */
export interface PublisherOptions {
  readonly streams: readonly string[];
  /** How many batches. */
  readonly batches: number;
  /** How long it waits between two, on average, in milliseconds. */
  readonly pauseMs: number;
  readonly valueBytesMax: number;
}

type Begun = Omit<Append, "outcome" | "endedAt">;

function begin(client: Client, stream: string, batch: Batch, rest: Partial<Begun> = {}): Begun {
  return { op: "append", client: client.name, stream, calledAt: client.now, values: batch.values, ...rest };
}

function noteAnswer(client: Client, begun: Begun, response: PublishResponse): void {
  const { firstOffset, nextOffset, duplicate, incarnation, timestamp } = response;
  if (nextOffset - firstOffset !== BigInt(begun.values.length)) {
    client.violate("answer", `${begun.values.length} records were stored from ${firstOffset} to ${nextOffset}`);
  }
  client.history.push({
    ...begun,
    incarnation,
    endedAt: client.now,
    outcome: "ok",
    firstOffset: Number(firstOffset),
    timestamp: timestamp === undefined ? undefined : timestampMs(timestamp),
    duplicate,
  });
}

/** Notes a failure. What a refusal found is noted only for the first of several: the others were not looked at. */
function noteFailure(client: Client, begun: Begun, error: VaultError, isFirst = true): void {
  if (error.kind === "indeterminate") {
    client.history.push({ ...begun, endedAt: undefined, outcome: "unknown", reason: error.message });
    return;
  }
  const found = isFirst && error.kind === "conflict" ? error.detail.found : undefined;
  client.history.push({
    ...begun,
    endedAt: client.now,
    outcome: "refused",
    foundOffset: toNumber(found?.["nextOffset"]),
    foundSequence: toNumber(found?.["lastSequence"]),
    reason: `${error.kind}: ${error.message}`,
  });
}

function toNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function retryMs(client: Client): number {
  return 100 + 900 * client.random();
}

/** Publishes each batch once, whatever becomes of it. */
export async function publishPlainly(client: Client, options: PublisherOptions): Promise<void> {
  for (let number = 0; number < options.batches && !client.stopping.aborted; number++) {
    const batch = createBatch(client.random, client.name, number, options.valueBytesMax);
    const stream = options.streams[number % options.streams.length]!;
    const begun = begin(client, stream, batch);
    try {
      const response = await client.call(VaultService.method.publish, { stream, records: [...batch.records] });
      noteAnswer(client, begun, response);
    } catch (error) {
      noteFailure(client, begun, client.failure(error));
      await client.pause(retryMs(client));
    }
    await client.pause(2 * client.random() * options.pauseMs);
  }
}

/** Publishes with producer sequences, and each batch again until it is answered: every batch is stored once. */
export async function publishSequenced(client: Client, options: PublisherOptions): Promise<void> {
  // A producer for each stream and each time that one had to be given up.
  const producers = new Map<string, { id: string; sequence: number }>();
  for (let number = 0; number < options.batches && !client.stopping.aborted; number++) {
    const batch = createBatch(client.random, client.name, number, options.valueBytesMax);
    const stream = options.streams[number % options.streams.length]!;
    const producer = producers.get(stream) ?? { id: `${client.name}-${stream}-${number}`, sequence: number };
    producers.set(stream, producer);
    const answered = await publishUntilAnswered(client, stream, batch, producer);
    if (answered) producer.sequence++;
    else producers.delete(stream);
    // Now and then a batch is sent once more, as a client does that lost the answer.
    if (answered && client.random() < 0.05) {
      await publishUntilAnswered(client, stream, batch, { ...producer, sequence: producer.sequence - 1 });
    }
    await client.pause(2 * client.random() * options.pauseMs);
  }
}

async function publishUntilAnswered(
  client: Client,
  stream: string,
  batch: Batch,
  producer: { id: string; sequence: number },
): Promise<boolean> {
  while (!client.stopping.aborted) {
    const begun = begin(client, stream, batch, { producer: producer.id, sequence: producer.sequence });
    try {
      const request = {
        stream,
        records: [...batch.records],
        producer: { id: producer.id, sequence: BigInt(producer.sequence) },
      };
      const response = await client.call(VaultService.method.publish, request, 4000 + 8000 * client.random());
      noteAnswer(client, begun, response);
      return true;
    } catch (error) {
      const failure = client.failure(error);
      noteFailure(client, begun, failure);
      if (failure.kind === "conflict") return false;
    }
    await client.pause(retryMs(client));
  }
  return false;
}

/** Publishes where it believes the end to be: of several that do so each offset has one winner. */
export async function publishExpecting(client: Client, options: PublisherOptions): Promise<void> {
  const expected = new Map<string, number>();
  for (let number = 0; number < options.batches && !client.stopping.aborted; number++) {
    const batch = createBatch(client.random, client.name, number, options.valueBytesMax);
    const stream = options.streams[number % options.streams.length]!;
    const expectedOffset = expected.get(stream) ?? 0;
    const begun = begin(client, stream, batch, { expectedOffset });
    try {
      const request = { stream, records: [...batch.records], expectedOffset: BigInt(expectedOffset) };
      const response = await client.call(VaultService.method.publish, request);
      noteAnswer(client, begun, response);
      expected.set(stream, Number(response.nextOffset));
    } catch (error) {
      const failure = client.failure(error);
      noteFailure(client, begun, failure);
      const found = toNumber(failure.detail.found?.["nextOffset"]);
      if (found !== undefined) expected.set(stream, found);
      else await client.pause(retryMs(client));
    }
    await client.pause(2 * client.random() * options.pauseMs);
  }
}

/** Publishes on one long call, several batches ahead of the answers; after a failure on another, under the same sequences. */
export async function publishPipelined(client: Client, options: PublisherOptions): Promise<void> {
  const stream = options.streams[0]!;
  const unanswered: { batch: Batch; sequence: number; begun: Begun | undefined }[] = [];
  let producer = `${client.name}-0`;
  let made = 0;
  while ((made < options.batches || unanswered.length > 0) && !client.stopping.aborted) {
    for (const entry of unanswered) entry.begun = undefined;
    let sent = 0;
    const ending = new AbortController();
    const requests = async function* () {
      while (!ending.signal.aborted && !client.stopping.aborted) {
        if (sent === unanswered.length) {
          if (made >= options.batches) return;
          const batch = createBatch(client.random, client.name, made, options.valueBytesMax);
          unanswered.push({ batch, sequence: made++, begun: undefined });
        }
        const entry = unanswered[sent++]!;
        entry.begun = begin(client, stream, entry.batch, { producer, sequence: entry.sequence });
        yield {
          stream,
          records: [...entry.batch.records],
          producer: { id: producer, sequence: BigInt(entry.sequence) },
        };
        await client.pause(options.pauseMs * client.random());
      }
    };
    try {
      for await (const response of client.duplex(VaultService.method.publishStream, requests(), ending.signal)) {
        const first = unanswered.shift()!;
        sent--;
        noteAnswer(client, first.begun!, response);
      }
    } catch (error) {
      const failure = client.failure(error);
      for (const [at, entry] of unanswered.entries()) {
        if (entry.begun !== undefined) noteFailure(client, entry.begun, failure, at === 0);
      }
      if (failure.kind === "conflict") {
        // The stream was made anew, or the vault forgot: begin again as another producer.
        producer = `${client.name}-${client.now.toFixed(0)}`;
        unanswered.splice(0);
      }
      client.moveOn();
    }
    ending.abort();
    await client.pause(retryMs(client));
  }
}
