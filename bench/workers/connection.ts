import * as grpc from "@grpc/grpc-js";

const connectTimeoutMs = 10_000;

// What a consumer may be sent without having asked for more; the default of 64 KiB holds replays back.
const windowBytes = 8 * 1024 * 1024;

/** Messages go as they are: a load neither encodes nor decodes while the clock runs. */
export function passThrough(bytes: Buffer): Buffer {
  return bytes;
}

/** A connection of its own to `host:port`, made when it resolves. */
export function connect(endpoint: string): Promise<grpc.Client> {
  const client = new grpc.Client(endpoint, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc-node.flow_control_window": windowBytes,
    "grpc.max_receive_message_length": -1,
  });
  return new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + connectTimeoutMs, (error) => (error ? reject(error) : resolve(client)));
  });
}

/** Sends one request and gives its response. */
export function callUnary(client: grpc.Client, path: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, passThrough, passThrough, request, (error, response) => {
      if (error === null && response !== undefined) resolve(response);
      else reject(error ?? new Error("no response"));
    });
  });
}
