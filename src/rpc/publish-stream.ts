/**
 * PublishStream: requests go to the vault as they come, answers go out in the order of the requests.
 *
 * - At most `requestsInFlightMax` requests are handed to the vault and not answered. While that many are, while the
 *   vault has no room, or while the client does not take its answers, nothing is read, and flow control holds the
 *   client back.
 * - The call fails with the first request that fails, and only when all that were handed to the vault behind it are
 *   settled: then it is known whether one of them may be stored, and the status says so. What was not handed to the
 *   vault is dropped.
 * - How the requests end decides nothing: each is published or not as a whole.
 */
import { PublishResponseSchema } from "../../gen/messagevault/v1/vault_pb.ts";
import { isKind, VaultError } from "../errors.ts";
import type { RecordLimits } from "../segment/batch.ts";
import type { PublishCommand, PublishResult, VaultApi } from "../stream/commands.ts";
import type { Room } from "../stream/pending-budget.ts";
import { encodeResponse } from "./handlers.ts";
import { freeRequest } from "./message-memory.ts";
import { parsePublishRequest } from "./publish-request.ts";
import { toTimestamp } from "./values.ts";

/** The most requests of one PublishStream call that are handed to the vault and not answered. */
export const requestsInFlightMax = 256;

/** A request that the vault has room for. */
interface RequestStep {
  readonly step: "request";
  readonly request: Buffer;
  readonly command: PublishCommand;
  readonly room: Room;
}

/** What came of reading the next request. */
type Step = RequestStep | { readonly step: "end" } | { readonly step: "failure"; readonly error: unknown };

/** What came of a request. */
type Outcome =
  | { readonly step: "answer"; readonly result: PublishResult }
  | { readonly step: "refusal"; readonly error: unknown };

/** Publishes the requests and yields the encoded answers. Throws the status that the call ends with. */
export async function* publishAll(
  vault: VaultApi,
  limits: RecordLimits,
  requests: AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const iterator = requests[Symbol.asyncIterator]();
  const inFlight: Promise<Outcome>[] = [];
  let reading: Promise<Step> | undefined = readStep(vault, limits, iterator, signal);
  let failure: { readonly error: unknown } | undefined;
  let refused = false;
  let answered = 0;
  const onRefusal = () => {
    refused = true;
  };
  try {
    while (reading !== undefined || inFlight.length > 0) {
      const next: Step | Outcome = await firstOf(
        inFlight.length < requestsInFlightMax ? reading : undefined,
        inFlight[0],
      );
      switch (next.step) {
        case "request":
          // The refusal's turn may come later, when those before it are answered: until then nothing more goes in.
          if (refused) next.room.release();
          else inFlight.push(publish(vault, next, onRefusal));
          reading = refused ? undefined : readStep(vault, limits, iterator, signal);
          break;
        case "answer":
          void inFlight.shift();
          answered++;
          yield encodePublishResponse(next.result);
          break;
        case "refusal":
          throw endingOf(next.error, answered, await Promise.all(inFlight.slice(1)));
        case "failure":
          failure = next;
          reading = undefined;
          break;
        case "end":
          reading = undefined;
          break;
      }
    }
  } finally {
    // What was read and is not handed on takes no room.
    void reading?.then((step) => {
      if (step.step === "request") step.room.release();
    });
  }
  if (failure !== undefined) throw failure.error;
}

/** Encodes where a batch was stored. */
export function encodePublishResponse({ timestamp, ...result }: PublishResult): Buffer {
  return encodeResponse(PublishResponseSchema, { ...result, timestamp: toTimestamp(timestamp) });
}

/** Reads a request and waits until the vault has room for it. Never rejects. */
async function readStep(
  vault: VaultApi,
  limits: RecordLimits,
  iterator: AsyncIterator<Buffer>,
  signal: AbortSignal,
): Promise<Step> {
  try {
    const { done, value } = await iterator.next();
    if (done === true) return { step: "end" };
    const command = parsePublishRequest(value, limits);
    const room = await vault.publishRoom(command.stream, command.batch.storedBytes, signal);
    if (!signal.aborted) return { step: "request", request: value, command, room };
    room.release();
    throw signal.reason;
  } catch (error) {
    return { step: "failure", error };
  }
}

/** Hands a request to the vault. Never rejects; calls `onRefusal` as soon as the vault refuses. */
async function publish(
  vault: VaultApi,
  { request, command, room }: RequestStep,
  onRefusal: () => void,
): Promise<Outcome> {
  try {
    const result = await vault.publish(command, room);
    freeRequest(request);
    return { step: "answer", result };
  } catch (error) {
    onRefusal();
    return { step: "refusal", error };
  } finally {
    room.release();
  }
}

/** At least one of them is there. */
function firstOf(reading: Promise<Step> | undefined, oldest: Promise<Outcome> | undefined): Promise<Step | Outcome> {
  if (reading === undefined) return oldest!;
  return oldest === undefined ? reading : Promise.race([reading, oldest]);
}

/** The error that the call ends with: the first failure, unless a request behind it may be stored. */
function endingOf(failure: unknown, answered: number, behind: readonly Outcome[]): unknown {
  const storedBehind = behind.some((outcome) => outcome.step === "answer" || mayBeStored(outcome.error));
  if (!storedBehind || mayBeStored(failure) || !(failure instanceof VaultError)) return failure;
  return new VaultError(
    "indeterminate",
    `request ${answered} of the call was not stored, requests behind it may be: ${failure.message}`,
    { ...failure.detail, found: { ...failure.detail.found, failedRequest: `${answered}`, failure: failure.kind } },
    failure,
  );
}

/** Whether a failed publish leaves open what is stored. An error that is no VaultError says nothing about it. */
function mayBeStored(error: unknown): boolean {
  return !(error instanceof VaultError) || isKind(error, "indeterminate");
}
