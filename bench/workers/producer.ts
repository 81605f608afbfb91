/** Publishes as fast as answers come, or at a given rate. Requests are encoded before the clock starts. */
import * as grpc from "@grpc/grpc-js";
import { copyRequest, encodePublishRequest, publishPath, publishStreamPath } from "../requests.ts";
import { percentilesOf } from "../statistics.ts";
import type { Percentiles } from "../statistics.ts";
import { serveCommands } from "../worker-commands.ts";
import { callUnary, connect, passThrough } from "./connection.ts";

/** What to publish, and how. */
export interface PublishArgs {
  readonly endpoint: string;
  readonly stream: string;
  /** Over how many streams the producers are spread, called `STREAM-0` and so on; one where absent. */
  readonly streams?: number;
  /** Records in a request, and the bytes of each. */
  readonly batch: number;
  readonly recordBytes: number;
  /** `pipelined`: each producer has a PublishStream call; `unary`: each sends Publish. */
  readonly mode: "pipelined" | "unary";
  /** Whether each record carries a trace of its own, of which one in a hundred is sampled. */
  readonly traced?: boolean;
  readonly producers: number;
  /** Over how many connections they are spread. */
  readonly connections: number;
  /** How many requests of a producer may be unanswered. */
  readonly window: number;
  /** No more requests are begun after this time, or after so many: then no more than those are sent. */
  readonly seconds: number;
  readonly requests?: number;
  /** After so many answers each the time is noted. */
  readonly markRequests?: number;
  /** Requests a second of all producers together; as fast as answers come where absent. */
  readonly requestsPerSecond?: number;
}

/** What was answered. */
export interface PublishResult extends Percentiles {
  readonly requests: number;
  readonly records: number;
  /** Of requests, as they are on the wire. */
  readonly bytes: number;
  /** From the first request to the last answer. */
  readonly seconds: number;
  /** How often a request was refused for lack of room, and sent again. */
  readonly refused: number;
  /** When each mark was reached, in seconds from the start. */
  readonly marksSeconds: readonly number[];
}

/** What to publish to many streams: one unary request to each. */
export interface StreamsArgs {
  readonly endpoint: string;
  /** Streams are called `PREFIXn`, n from 0. */
  readonly prefix: string;
  readonly streams: number;
  readonly batch: number;
  readonly recordBytes: number;
  readonly inFlight: number;
}

/** What a refused request waits before it is sent again. */
const retryMs = 5;

/** How many copies of its request a stream's producers send in turn, where there are several streams. */
const copiesPerStreamMax = 4;

/** How often a load with a rate looks whether more is due. */
const paceMs = 2;

serveCommands({ publish, publishStreams });

async function publish(args: PublishArgs): Promise<PublishResult> {
  const requests = encodeRequests(args);
  const clients = await Promise.all(Array.from({ length: args.connections }, () => connect(args.endpoint)));
  const load = new Load(args, requests);
  // The first request makes the stream, or opens it: that is not what is measured, where requests are not counted.
  if (args.requests === undefined) {
    await Promise.all(requests.map((copies) => callUnary(clients[0]!, publishPath, copies[0]!)));
  }
  load.start();
  const run = args.mode === "unary" ? runUnary : runPipelined;
  await Promise.all(
    Array.from({ length: args.producers }, (_, i) => run(clients[i % clients.length]!, load, args.window, i)),
  );
  load.stop();
  for (const client of clients) client.close();
  const seconds = (load.lastAnswerAt - load.startedAt) / 1000;
  const { answered, bytes, refused } = load;
  const records = answered * args.batch;
  const { marksSeconds } = load;
  return { requests: answered, records, bytes, seconds, refused, marksSeconds, ...percentilesOf(load.latenciesMs) };
}

async function publishStreams(args: StreamsArgs): Promise<{ records: number; seconds: number }> {
  const { endpoint, prefix, streams, batch, recordBytes, inFlight } = args;
  const client = await connect(endpoint);
  // Fields may come in any order, and the records are the same for all.
  const records = encodePublishRequest("", batch, recordBytes);
  let next = 0;
  async function publishOn(): Promise<void> {
    while (next < streams) {
      const name = encodePublishRequest(`${prefix}${next++}`, 0, 0);
      await callUnary(client, publishPath, Buffer.concat([name, records]));
    }
  }
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, publishOn));
  const seconds = (performance.now() - startedAt) / 1000;
  client.close();
  return { records: streams * batch, seconds };
}

/** The requests of each stream. */
function encodeRequests({ stream, streams, batch, recordBytes, traced }: PublishArgs): Buffer[][] {
  if (streams === undefined) return [copyRequest(encodePublishRequest(stream, batch, recordBytes, traced))];
  return Array.from({ length: streams }, (_, i) =>
    copyRequest(encodePublishRequest(`${stream}-${i}`, batch, recordBytes)).slice(0, copiesPerStreamMax),
  );
}

/** What the producers share: whoever has room takes the next request. */
class Load {
  startedAt = 0;
  lastAnswerAt = 0;
  answered = 0;
  bytes = 0;
  refused = 0;
  readonly latenciesMs: number[] = [];
  readonly marksSeconds: number[] = [];
  private begun = 0;
  private readonly args: PublishArgs;
  private readonly copies: readonly (readonly Buffer[])[];
  private readonly waiting = new Set<() => void>();
  /** Where the load has a rate: how many requests the producer that is woken may begin, and whose turn is next. */
  private granted = 0;
  private turn = 0;
  private pacing: NodeJS.Timeout | undefined;

  constructor(args: PublishArgs, copies: readonly (readonly Buffer[])[]) {
    this.args = args;
    this.copies = copies;
  }

  start(): void {
    this.startedAt = performance.now();
    const { requestsPerSecond } = this.args;
    if (requestsPerSecond !== undefined) this.pacing = setInterval(() => this.handOut(requestsPerSecond), paceMs);
  }

  /** Gives what is due to the producers in turn, one request each. */
  private handOut(requestsPerSecond: number): void {
    const producers = [...this.waiting];
    const due = ((performance.now() - this.startedAt) / 1000) * requestsPerSecond;
    for (let full = 0; this.begun < due && full < producers.length && !this.over;) {
      this.granted = 1;
      producers[this.turn++ % producers.length]!();
      full = this.granted === 0 ? 0 : full + 1;
    }
    this.granted = 0;
    if (this.over) for (const wake of producers) wake();
  }

  stop(): void {
    clearInterval(this.pacing);
  }

  get over(): boolean {
    return (
      this.begun >= (this.args.requests ?? Infinity) || performance.now() - this.startedAt >= this.args.seconds * 1000
    );
  }

  /** The next request of a producer; undefined where none is due, or it is over. */
  next(producer: number): Buffer | undefined {
    if (this.over) return undefined;
    if (this.args.requestsPerSecond !== undefined) {
      if (this.granted === 0) return undefined;
      this.granted = 0;
    }
    const copies = this.copies[producer % this.copies.length]!;
    return copies[this.begun++ % copies.length];
  }

  /** Calls `wake` now and then while the load has a rate, until told not to. */
  onPace(wake: () => void): () => void {
    this.waiting.add(wake);
    return () => this.waiting.delete(wake);
  }

  answer(sentAt: number, request: Buffer): void {
    const now = performance.now();
    this.lastAnswerAt = now;
    this.answered++;
    this.bytes += request.length;
    this.latenciesMs.push(now - sentAt);
    if (this.answered % (this.args.markRequests ?? Infinity) === 0)
      this.marksSeconds.push((now - this.startedAt) / 1000);
  }
}

interface Sent {
  readonly at: number;
  readonly request: Buffer;
}

function runPipelined(client: grpc.Client, load: Load, window: number, producer: number): Promise<void> {
  const call = client.makeBidiStreamRequest(publishStreamPath, passThrough, passThrough);
  const unanswered: Sent[] = [];
  let ended = false;
  function fill(): void {
    while (unanswered.length < window) {
      const request = load.next(producer);
      if (request === undefined) break;
      unanswered.push({ at: performance.now(), request });
      call.write(request);
    }
    if (unanswered.length === 0 && load.over && !ended) {
      ended = true;
      call.end();
    }
  }
  const endPacing = load.onPace(fill);
  return new Promise<void>((resolve, reject) => {
    call.on("data", () => {
      const { at, request } = unanswered.shift()!;
      load.answer(at, request);
      fill();
    });
    call.on("error", reject);
    call.on("status", (status: grpc.StatusObject) => {
      if (status.code === grpc.status.OK && unanswered.length === 0) resolve();
      else reject(new Error(`the call ended with ${status.code}, ${unanswered.length} unanswered: ${status.details}`));
    });
    fill();
  }).finally(endPacing);
}

function runUnary(client: grpc.Client, load: Load, window: number, producer: number): Promise<void> {
  let unanswered = 0;
  let endPacing = (): void => undefined;
  return new Promise<void>((resolve, reject) => {
    function send({ at, request }: Sent): void {
      client.makeUnaryRequest(publishPath, passThrough, passThrough, request, (error) => {
        if (error?.code === grpc.status.RESOURCE_EXHAUSTED) {
          load.refused++;
          setTimeout(send, retryMs, { at, request });
          return;
        }
        if (error !== null) return reject(error);
        unanswered--;
        load.answer(at, request);
        fill();
      });
    }
    function fill(): void {
      while (unanswered < window) {
        const request = load.next(producer);
        if (request === undefined) break;
        unanswered++;
        send({ at: performance.now(), request });
      }
      if (unanswered === 0 && load.over) resolve();
    }
    endPacing = load.onPace(fill);
    fill();
  }).finally(() => endPacing());
}
