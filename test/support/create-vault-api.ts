import type { PublishCommand, PublishResult, VaultApi } from "../../src/stream/commands.ts";

/** A vault that can do only what is given: for tests of what lies above it. */
export function createVaultApi(methods: Partial<VaultApi>): VaultApi {
  const missing = () => {
    throw new Error("the test did not expect this call");
  };
  return {
    publish: missing,
    publishRoom: () => Promise.resolve({ release() {} }),
    subscribe: missing,
    createStream: missing,
    getStream: missing,
    listStreams: missing,
    updateStream: missing,
    deleteStream: missing,
    trimStream: missing,
    readAccess: missing,
    ...methods,
  };
}

/** A publish that the test settles itself. */
export interface PendingPublish {
  readonly command: PublishCommand;
  resolve(firstOffset: bigint): void;
  reject(error: Error): void;
}

/** A `publish` that keeps every call until the test settles it. */
export function createPendingPublish(): { publish: VaultApi["publish"]; pending: PendingPublish[] } {
  const pending: PendingPublish[] = [];
  const publish = (command: PublishCommand) =>
    new Promise<PublishResult>((resolve, reject) => {
      pending.push({
        command,
        resolve: (firstOffset) =>
          resolve({
            firstOffset,
            nextOffset: firstOffset + BigInt(command.batch.count),
            timestamp: Date.UTC(2026, 0, 1),
            duplicate: false,
            incarnation: "0".repeat(32),
          }),
        reject,
      });
    });
  return { publish, pending };
}
