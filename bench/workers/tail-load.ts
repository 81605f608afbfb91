/**
 * An open loop: requests go out when they are scheduled, answered or not, and a latency counts from the schedule, so
 * that a stall of the server, or of this process, is in the figures of all that it held up.
 */
import type * as grpc from "@grpc/grpc-js";
import { encodeFollowRequest, publishPath, subscribePath } from "../requests.ts";
import { serveCommands } from "../worker-commands.ts";
import { callUnary, connect, passThrough } from "./connection.ts";
import { monotonicMs, pace } from "./pacer.ts";
import { createStamper, readStamps } from "./stamps.ts";

/** What to publish, and when. */
export interface TailArgs {
  readonly endpoint: string;
  readonly stream: string;
  readonly requestsPerSecond: number;
  readonly recordsPerRequest: number;
  readonly recordBytes: number;
  readonly seconds: number;
}

/** How long each request took, from when it was scheduled. In milliseconds. */
export interface TailResult {
  /** Until a subscription, on another connection, had its last record. */
  readonly deliveredMs: Float64Array;
  /** Until it was answered. */
  readonly answeredMs: Float64Array;
}

/** What is sent before anything counts: connections and their buffers grow. */
const settlingSeconds = 0.3;

/** How long after the first request is scheduled to go when all is ready. */
const startMs = 20;

serveCommands({ tail, roundTrip });

/** Publishes, and follows the stream. */
async function tail(args: TailArgs): Promise<TailResult> {
  const publisher = await connect(args.endpoint);
  const subscriber = await connect(args.endpoint);
  const schedule = createSchedule(args);
  const deliveredMs = new Float64Array(schedule.count);
  const all = Promise.withResolvers<void>();
  const following = Promise.withResolvers<void>();
  let missing = schedule.count * args.recordsPerRequest;
  // Makes the stream, or opens it.
  await callUnary(publisher, publishPath, createStamper(args.stream, 1, 0)(0));
  const call = follow(subscriber, args.stream, all.reject, (response) => {
    following.resolve();
    const now = monotonicMs();
    for (const stamp of readStamps(response)) {
      deliveredMs[stamp] = now - schedule.dueAtMs(stamp);
      missing--;
    }
    if (missing === 0) all.resolve();
  });
  await following.promise;
  const answeredMs = await sendOnSchedule(publisher, args, schedule);
  await all.promise;
  call.cancel();
  publisher.close();
  subscriber.close();
  return { deliveredMs: deliveredMs.subarray(schedule.settling), answeredMs };
}

/** Sends the same requests, and waits for answers alone. */
async function roundTrip(args: TailArgs): Promise<TailResult> {
  const client = await connect(args.endpoint);
  const answeredMs = await sendOnSchedule(client, args, createSchedule(args));
  client.close();
  return { deliveredMs: new Float64Array(), answeredMs };
}

interface Schedule {
  readonly count: number;
  /** How many of them do not count. */
  readonly settling: number;
  readonly intervalMs: number;
  startsAtMs: number;
  dueAtMs(index: number): number;
}

function createSchedule({ requestsPerSecond, seconds }: TailArgs): Schedule {
  return {
    count: Math.ceil((seconds + settlingSeconds) * requestsPerSecond),
    settling: Math.ceil(settlingSeconds * requestsPerSecond),
    intervalMs: 1000 / requestsPerSecond,
    startsAtMs: 0,
    dueAtMs(index) {
      return this.startsAtMs + index * this.intervalMs;
    },
  };
}

async function sendOnSchedule(client: grpc.Client, args: TailArgs, schedule: Schedule): Promise<Float64Array> {
  const stamp = createStamper(args.stream, args.recordsPerRequest, args.recordBytes);
  const answeredMs = new Float64Array(schedule.count);
  const answers: Promise<void>[] = [];
  schedule.startsAtMs = monotonicMs() + startMs;
  await pace(schedule, (index) => {
    const answered = callUnary(client, publishPath, stamp(index)).then(() => {
      answeredMs[index] = monotonicMs() - schedule.dueAtMs(index);
    });
    answers.push(answered);
  });
  await Promise.all(answers);
  return answeredMs.subarray(schedule.settling);
}

function follow(
  client: grpc.Client,
  stream: string,
  fail: (error: Error) => void,
  take: (response: Buffer) => void,
): grpc.ClientReadableStream<Buffer> {
  const request = encodeFollowRequest(stream);
  const call = client.makeServerStreamRequest(subscribePath, passThrough, passThrough, request);
  call.on("data", take);
  call.on("error", fail);
  return call;
}
