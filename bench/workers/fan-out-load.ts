/** Many subscriptions of one stream, and how long a record takes to reach them all. */
import { encodeFollowRequest, encodePublishRequest, publishPath, subscribePath } from "../requests.ts";
import { serveCommands } from "../worker-commands.ts";
import { callUnary, connect, passThrough } from "./connection.ts";
import { monotonicMs } from "./pacer.ts";

/** What to subscribe to. */
export interface FanOutArgs {
  readonly endpoint: string;
  readonly stream: string;
  readonly subscriptions: number;
  /** Over how many connections they are spread. */
  readonly connections: number;
}

/** What to publish. */
export interface ReachArgs {
  readonly stream: string;
  readonly records: number;
  readonly recordBytes: number;
}

/** The subscriptions of a stream. */
interface Crowd {
  readonly publish: (recordBytes: number) => Promise<Buffer>;
  /** Resolves when every subscription has got one more response. */
  nextForAll(): Promise<void>;
}

/** How many subscriptions are begun at a time. */
const opening = 500;

const crowds = new Map<string, Crowd>();

serveCommands({ open, reach });

/** Subscribes; resolves when each subscription has had its first response. */
async function open({ endpoint, stream, subscriptions, connections }: FanOutArgs): Promise<void> {
  const clients = await Promise.all(Array.from({ length: connections }, () => connect(endpoint)));
  const publisher = await connect(endpoint);
  const publish = (recordBytes: number) =>
    callUnary(publisher, publishPath, encodePublishRequest(stream, 1, recordBytes));
  await publish(1);
  const request = encodeFollowRequest(stream);
  const round = { missing: 0, done: Promise.withResolvers<void>() };
  function subscribe(index: number): void {
    const call = clients[index % clients.length]!.makeServerStreamRequest(
      subscribePath,
      passThrough,
      passThrough,
      request,
    );
    call.on("data", () => {
      if (--round.missing === 0) round.done.resolve();
    });
    call.on("error", (error) => round.done.reject(error));
  }
  function expectAll(count: number): Promise<void> {
    round.missing = count;
    round.done = Promise.withResolvers<void>();
    return round.done.promise;
  }
  for (let begun = 0; begun < subscriptions; begun += opening) {
    const count = Math.min(opening, subscriptions - begun);
    const ready = expectAll(count);
    for (let i = 0; i < count; i++) subscribe(begun + i);
    await ready;
  }
  crowds.set(stream, { publish, nextForAll: () => expectAll(subscriptions) });
}

/** Publishes one record after the other; tells how long each took until the last subscription had it. */
async function reach({ stream, records, recordBytes }: ReachArgs): Promise<number[]> {
  const crowd = crowds.get(stream)!;
  const reachedMs: number[] = [];
  for (let i = 0; i < records; i++) {
    const all = crowd.nextForAll();
    const startedAt = monotonicMs();
    await Promise.all([crowd.publish(recordBytes), all.then(() => reachedMs.push(monotonicMs() - startedAt))]);
  }
  return reachedMs;
}
