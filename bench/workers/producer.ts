/** Publishes over pipelined calls, from several connections, as fast as answers come. Requests are encoded before. */
import * as grpc from "@grpc/grpc-js";
import { encodePublishRequests, publishStreamPath } from "../requests.ts";
import type { Sample } from "../statistics.ts";
import { serveCommands } from "../worker-commands.ts";

/** What to publish, and how. */
export interface PublishArgs {
  readonly endpoint: string;
  readonly stream: string;
  /** How many requests in all. */
  readonly requests: number;
  /** Records in a request, and the bytes of each. */
  readonly batch: number;
  readonly recordBytes: number;
  /** How many connections, with a call each. */
  readonly producers: number;
  /** How many requests of a producer may be unanswered. */
  readonly window: number;
}

const connectTimeoutMs = 10_000;
const passThrough = (bytes: Buffer) => bytes;

serveCommands({ publish });

async function publish(args: PublishArgs): Promise<Sample> {
  const requests = encodePublishRequests(args.stream, args.batch, args.recordBytes, args.requests);
  const clients = await Promise.all(Array.from({ length: args.producers }, () => connect(args.endpoint)));
  const load: Load = { requests, remaining: args.requests, window: args.window, bytes: 0 };
  const startedAt = performance.now();
  await Promise.all(clients.map((client) => runProducer(client, load)));
  const seconds = (performance.now() - startedAt) / 1000;
  for (const client of clients) client.close();
  return { bytes: load.bytes, seconds };
}

/** What the producers share: whoever has room takes the next request. */
interface Load {
  readonly requests: readonly Buffer[];
  readonly window: number;
  remaining: number;
  bytes: number;
}

function connect(endpoint: string): Promise<grpc.Client> {
  const options = { "grpc.use_local_subchannel_pool": 1 };
  const client = new grpc.Client(endpoint, grpc.credentials.createInsecure(), options);
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + connectTimeoutMs, (error) => (error ? reject(error) : resolve(client)));
  });
}

function runProducer(client: grpc.Client, load: Load): Promise<void> {
  const call = client.makeBidiStreamRequest(publishStreamPath, passThrough, passThrough);
  let unanswered = 0;
  let ended = false;
  function fill(): void {
    while (unanswered < load.window && load.remaining > 0) {
      const request = load.requests[load.remaining % load.requests.length]!;
      load.remaining--;
      load.bytes += request.length;
      unanswered++;
      call.write(request);
    }
    if (unanswered === 0 && load.remaining === 0 && !ended) {
      ended = true;
      call.end();
    }
  }
  return new Promise((resolve, reject) => {
    call.on("data", () => {
      unanswered--;
      fill();
    });
    call.on("error", reject);
    call.on("status", (status: grpc.StatusObject) => {
      if (status.code === grpc.status.OK && unanswered === 0) resolve();
      else reject(new Error(`the call ended with ${status.code} and ${unanswered} unanswered: ${status.details}`));
    });
    fill();
  });
}
